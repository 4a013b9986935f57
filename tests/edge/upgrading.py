"""A service whose model is exchanged while it is asked: two scripted models with other answers to the same questions.

It deploys as `serve deploy` does, by a configuration that the controller applies, and says of an answer which model's
it is. A rollout with tokens of both would continue a context that is in neither's script, and be `wrong`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_script import ENGINE_ENVIRONMENT, MODEL, Asked, Stage, scripted_engine, stage
from benchmarks.structures import Structure
from sprint.steps import free_port
from sprint.usage import RoundCounts
from tests.edge.answers import Answered, ask

ROOT = Path(__file__).parents[2]
APP = "sprint"
OLD, NEW = "old", "new"
PATIENCE_S = 900.0  # what takes longer hangs
BUILDER = "tests.edge.scripted_replica:build"  # engines that follow a script; with vLLM's, REAL_BUILDER
REAL_BUILDER = "serve_app.app:build"
TOKEN_S = 0.004
QUESTIONS = 60
LENGTHS = (RoundCounts(60, (30, 55), (120, 90)), RoundCounts(40, (35,), (60,)))


@dataclass
class Heard:
    """What clients heard: verdicts, and the order in which they came.

    spans  of each answer: when it was asked for and when it was there, and whose it was
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[float, float, str]] = field(default_factory=list)

    def add(self, began: float, verdict: str) -> None:
        self.verdicts[verdict] += 1
        self.spans.append((began, time.monotonic(), verdict))


@dataclass(frozen=True)
class Upgradable:
    """The service and its two models."""

    url: str
    models: dict[str, Stage]
    options: dict[str, Any]
    builder: str = BUILDER
    token_s: float = TOKEN_S

    def deploy(self, model: str, deployments: Sequence[dict[str, Any]] = (), beside: str = "", **options: Any) -> None:
        """What `serve deploy FILE` does with a file in which the model is named; `beside`: another, under /next."""
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        args = self.args(model) | self.options | options
        named = {"name": APP, "route_prefix": "/", "import_path": self.builder}
        applications = [{**named, "args": args, "deployments": list(deployments)}]
        if beside:
            args = self.args(beside) | self.options
            applications.append({**named, "name": APP + "-next", "route_prefix": "/next", "args": args})
        schema = ServeDeploySchema.model_validate({"applications": applications})
        _get_global_client().deploy_apps(schema)

    def args(self, model: str) -> dict[str, Any]:
        staged = self.models[model]
        if self.builder == REAL_BUILDER:
            engine = scripted_engine(staged)
        else:
            engine = {"script": str(staged.script), "token_s": self.token_s}
        window = {"context_tokens": staged.context_tokens, "kv_cache_mib": 64}
        return {"model": str(staged.folder), "name": MODEL, "engine": engine, **window}

    def verdict(self, number: int, said: Answered) -> str:
        """Whose answer it is; else what is wrong with it."""
        if said.status != 200:
            return f"failed: {said.status} {said.why}"
        for name, staged in self.models.items():
            asked = staged.questions[number]
            if (said.answers, said.tokens) == ((asked.answer,), asked.tokens):
                return name
        return "wrong"

    @property
    def deployments(self) -> tuple[str, ...]:
        """The names of what runs."""
        pools = [f"VLLMServer-{role}" for role in ("planner", "executor")]
        own = any(role in self.options for role in ("planner", "executor"))
        return ("Ingress", "Planner", *(pools if own else ["VLLMServer"]))

    async def status(self, application: str = APP) -> Any:
        from ray import serve

        return (await asyncio.to_thread(serve.status)).applications[application]

    async def answer(self, number: int, path: str = "") -> str:
        """Whose answer a client gets under that path."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            body = chat(self.models[OLD].questions[number], stream=False)
            return self.verdict(number, await ask(http, f"{self.url}{path}/v1/chat/completions", body))

    def replicas(self, deployment: str) -> set[str]:
        """The names of the replicas whose processes there are."""
        import ray

        prefix = f"SERVE_REPLICA::{APP}#{deployment}#"
        names = [actor["name"] or "" for actor in ray.util.list_named_actors(all_namespaces=True)]
        return {name for name in names if name.startswith(prefix)}


def chat(asked: Asked, stream: bool) -> dict[str, Any]:
    """The body of a request."""
    messages = [{"role": "user", "content": asked.question}]
    return {"model": MODEL, "messages": messages, "temperature": 0, "stream": stream, "sprint": {"mode": "parallel"}}


@contextmanager
def ray_serve(num_cpus: int = 8) -> Iterator[str]:
    """Ray and Ray Serve with nothing on it, as the URL of its door."""
    from ray import serve

    from sprint.local_ray import ray_session

    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    os.environ.update(ENGINE_ENVIRONMENT | {"PYTHONPATH": paths})  # replicas import the project as it lies here
    port = free_port()
    with ray_session(num_cpus):
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()


@contextmanager
def upgradable(
    url: str, folder: Path, builder: str = BUILDER, token_s: float = TOKEN_S, **options: Any
) -> Iterator[Upgradable]:
    """A service that runs the old model."""
    from ray import serve

    service = Upgradable(url, two_models(folder), options, builder, token_s)
    service.deploy(OLD)
    try:
        asyncio.run(until(service, lambda: running(service)))
        yield service
    finally:
        serve.delete(APP)


def two_models(folder: Path) -> dict[str, Stage]:
    """Two models with other answers to the same questions, in folders of their own."""
    structures = [Structure(f"question {number}", 16, LENGTHS, 30) for number in range(QUESTIONS)]
    for name in (OLD, NEW):
        (folder / name).mkdir(parents=True)
    old = stage(folder / OLD, structures, 2, 64, seed=0)
    return {OLD: old, NEW: stage(folder / NEW, structures, 2, 64, seed=1, questions_of=old)}


async def running(service: Upgradable) -> bool:
    """Whether all that was asked for runs."""
    return bool((await service.status()).status == "RUNNING")


async def given_up(service: Upgradable) -> bool:
    """Whether what was asked for could not be."""
    return bool((await service.status()).status == "DEPLOY_FAILED")


async def until(service: Upgradable, true: Callable[[], Awaitable[bool]], *, may_fail: bool = False) -> None:
    """Waits until it is true; fails where the service has given up."""
    async with asyncio.timeout(PATIENCE_S):
        while not await true():
            status = await service.status()
            assert may_fail or status.status != "DEPLOY_FAILED", status
            await asyncio.sleep(0.2)


async def under_load(service: Upgradable, clients: int, change: Callable[[], Awaitable[None]]) -> Heard:
    """What clients heard who asked before, during and after a change of the service."""
    stop = asyncio.Event()
    asked = asyncio.create_task(asking(service, clients, stop))
    try:
        await asyncio.sleep(2.0)
        await change()
        await asyncio.sleep(1.0)
    finally:
        stop.set()
    return await asked


async def asking(service: Upgradable, clients: int, stop: asyncio.Event) -> Heard:
    """So many clients at once that ask one question after the other until they shall stop; every second one streams."""
    heard, numbers = Heard(), cycle(range(len(service.models[OLD].questions)))

    async def client_of(http: httpx.AsyncClient, stream: bool) -> None:
        while not stop.is_set():
            number = next(numbers)
            body = chat(service.models[OLD].questions[number], stream)
            began = time.monotonic()
            try:
                verdict = service.verdict(number, await ask(http, f"{service.url}/v1/chat/completions", body))
            except httpx.HTTPError as error:
                verdict = f"broke off: {type(error).__name__}"
            heard.add(began, verdict)

    async with httpx.AsyncClient(timeout=PATIENCE_S, limits=httpx.Limits(max_connections=None)) as http:
        await asyncio.gather(*(client_of(http, bool(index % 2)) for index in range(clients)))
    return heard
