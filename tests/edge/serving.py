"""A served tiny model for the tests of the deployment graph: real Ray, real vLLM, and a look inside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serve_app.config import ServeConfig
from serve_app.pools.readiness import Readiness
from serve_app.pools.stats import PoolStats, ReplicaLoad, ServiceStats
from sprint.steps import free_port

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0  # the machine may be busy; no test waits so long for something that happens


@dataclass(frozen=True)
class Served:
    """The application that runs."""

    url: str
    folder: Path

    def handle(self, deployment: str) -> Any:
        from ray import serve

        from serve_app.run import APP_NAME

        return serve.get_deployment_handle(deployment, APP_NAME)

    @property
    def planner(self) -> Any:
        return self.handle("Planner")

    async def stats(self) -> ServiceStats:
        return await self.planner.stats.remote()

    async def pool(self) -> PoolStats:
        return (await self.stats()).pools[0]

    async def readiness(self) -> Readiness:
        return await self.planner.readiness.remote()

    async def loads(self, deployment: str = "VLLMServer") -> list[ReplicaLoad]:
        """What the engines say, without asking the planner."""
        said = await self.handle(deployment).broadcast("load").results_async(return_exceptions=True)
        return [load for load in said if isinstance(load, ReplicaLoad)]

    async def idle(self) -> bool:
        return all(load.running == load.waiting == 0 for load in await self.loads())

    def kill(self, deployment: str, replica: str) -> None:
        """Kills the process of a replica, as a machine would: it cannot say a last word."""
        os.kill(self.pid(deployment, replica), 9)

    def pid(self, deployment: str, replica: str) -> int:
        return _pid(deployment, replica)

    def replicas(self, deployment: str) -> list[str]:
        """The names of all that run."""
        prefix = _actor_name(deployment, "")
        names = [actor["name"] for actor in _actors() if actor["name"].startswith(prefix)]
        return [name.removeprefix(prefix) for name in names]

    async def chat(self, question: str, **values: Any) -> httpx.Response:
        body = {"model": "tiny", "messages": [{"role": "user", "content": question}], "temperature": 0} | values
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            return await client.post(f"{self.url}/v1/chat/completions", json=body)


def _actor_name(deployment: str, replica: str) -> str:
    from serve_app.run import APP_NAME

    return f"SERVE_REPLICA::{APP_NAME}#{deployment}#{replica}"


def _actors() -> list[dict[str, Any]]:
    import ray

    return [actor for actor in ray.util.list_named_actors(all_namespaces=True) if actor["name"]]


def _pid(deployment: str, replica: str) -> int:
    import ray
    from ray._private.state import actors

    handle = ray.get_actor(_actor_name(deployment, replica), namespace="serve")
    return int(actors(handle._actor_id.hex())["Pid"])


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[Served]:
    """The application, once its models answer."""
    from serve_app.run import running

    with running(_config(folder, options)) as url:
        yield Served(url, folder)


@contextmanager
def deployed(folder: Path, **options: Any) -> Iterator[Served]:
    """The application as `serve deploy` leaves it: nobody waits for its models."""
    from ray import serve

    from serve_app.app import application
    from serve_app.run import APP_NAME, url
    from sprint.local_ray import ray_session

    config = _config(folder, options)
    with ray_session(config.num_cpus):
        serve.start(proxy_location="HeadOnly", http_options={"host": config.host, "port": config.port})
        try:
            target = serve.RunTarget(application(config), name=APP_NAME, route_prefix="/")
            serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
            yield Served(url(config), folder)
        finally:
            serve.shutdown()


def _config(folder: Path, options: dict[str, Any]) -> ServeConfig:
    os.environ["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"  # replicas import the project as it lies
    values: dict[str, Any] = {"model": folder, "port": free_port(), "kv_cache_mib": 64}
    return ServeConfig(**values | options)


async def until(true: Callable[[], Awaitable[bool]], every_s: float = 0.1) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await true():
            await asyncio.sleep(every_s)
