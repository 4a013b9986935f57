"""Pools of their own for planner and executors, several planners, and replicas that come and go with the load."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.app import deployment_name
from serve_app.pools.readiness import ReadinessState
from tests.edge.serving import Served, served, until
from tests.edge.tiny_model import ENDLESS, save_tiny_model

SCALING = {
    "max_replicas": 2,
    "target_ongoing_requests": 2,
    "upscale_delay_s": 0.5,
    "downscale_delay_s": 2.0,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    with served(folder, num_planners=2, planner=SCALING, executor={"max_num_seqs": 4}) as service:
        yield service


def test_each_role_has_its_pool(service: Served) -> None:
    async def run() -> None:
        assert [pool.name for pool in (await service.stats()).pools] == ["planner", "executor"]
        assert (await service.readiness()).state is ReadinessState.READY
        assert len(service.replicas("Planner")) == 2

    asyncio.run(run())


def test_replicas_come_with_the_load_and_go_when_it_is_over(service: Served) -> None:
    pool = deployment_name("planner")

    async def run() -> None:
        async def replicas(wanted: int) -> bool:
            return len(await service.loads(pool)) == wanted

        assert await replicas(1)
        asking = [
            asyncio.create_task(service.chat(f"{ENDLESS} {number}", max_tokens=9_000, sprint={"mode": "sequential"}))
            for number in range(10)
        ]
        await until(lambda: replicas(2), 0.3)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await until(lambda: replicas(1), 0.3)
        assert (await service.chat(ENDLESS, max_tokens=8)).status_code == 200

    asyncio.run(run())
