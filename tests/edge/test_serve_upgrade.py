"""The model is exchanged under load: every request is answered, by the old or by the new model and never by both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.upgrading import (
    NEW,
    OLD,
    REAL_BUILDER,
    Heard,
    Upgradable,
    asking,
    given_up,
    ray_serve,
    running,
    under_load,
    until,
    upgradable,
)

ALL = ("VLLMServer", "Planner", "Ingress")
SLOWLY = 0.03  # seconds a token, so that answers are under way while everything is replaced


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ray_serve() as url:
        yield url


async def upgraded(service: Upgradable, clients: int, model: str = NEW, **options: Any) -> Heard:
    """What clients heard who asked before, during and after an upgrade, which ends when nothing old is left."""
    before = {name: service.replicas(name) for name in service.deployments}

    async def change() -> None:
        await asyncio.to_thread(service.deploy, model, **options)
        await until(service, exchanged)

    async def exchanged() -> bool:
        return await running(service) and not any(service.replicas(name) & old for name, old in before.items())

    return await under_load(service, clients, change)


def pool_of(size: int) -> dict[str, Any]:
    return {"name": "VLLMServer", "autoscaling_config": {"min_replicas": size, "max_replicas": size}}


async def sized(service: Upgradable, size: int) -> None:
    """The pool's size stands under `deployments:`; that it stands there at all is a change that restarts everything."""
    before = service.replicas("Ingress")
    await asyncio.to_thread(service.deploy, OLD, [pool_of(size)])

    async def there() -> bool:
        return await running(service) and not service.replicas("Ingress") & before

    await until(service, there)


def overlapped(heard: Heard) -> bool:
    """Whether answers of the old model ended after the first of the new one was begun."""
    first_new = min(began for began, _, verdict in heard.spans if verdict == NEW)
    return max(ended for _, ended, verdict in heard.spans if verdict == OLD) > first_new


def test_an_upgrade_of_the_model_drops_no_request_and_mixes_no_answer(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, grace_s=120.0) as service:
        heard = asyncio.run(upgraded(service, clients=6))
    print(dict(heard.verdicts))
    assert set(heard.verdicts) == {OLD, NEW}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "options",
    [
        {"grace_s": 300.0},
        {"grace_s": 300.0, "min_replicas": 2, "max_replicas": 2, "num_planners": 2, "surge_percent": 0},
    ],
    ids=["one replica, replaced before it stops", "two replicas, stopped before they are replaced"],
)
def test_answers_under_way_are_ended_by_the_model_that_began_them(
    url: str, tmp_path: Path, options: dict[str, Any]
) -> None:
    with upgradable(url, tmp_path, token_s=SLOWLY, **options) as service:
        heard = asyncio.run(upgraded(service, clients=12))
    print(dict(heard.verdicts))
    assert set(heard.verdicts) == {OLD, NEW}
    assert overlapped(heard)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pools_of_their_own_are_exchanged_together(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, token_s=SLOWLY, grace_s=300.0, executor={"max_num_seqs": 8}) as service:
        assert len(service.deployments) == 4
        heard = asyncio.run(upgraded(service, clients=8))
    print(dict(heard.verdicts))
    assert set(heard.verdicts) == {OLD, NEW}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_model_that_cannot_be_served_leaves_the_old_one_answering_until_it_is_taken_back(
    url: str, tmp_path: Path
) -> None:
    with upgradable(url, tmp_path, grace_s=120.0) as service:
        before = {name: service.replicas(name) for name in ALL}

        async def fail() -> None:
            engine = service.args(NEW)["engine"] | {"broken": True}
            await asyncio.to_thread(service.deploy, NEW, engine=engine)
            await until(service, lambda: given_up(service), may_fail=True)
            await asyncio.sleep(5.0)
            status = await service.status()
            assert "the weights cannot be read" in str(status), status
            assert all(service.replicas(name) & old for name, old in before.items())

        async def take_back() -> None:
            await asyncio.to_thread(service.deploy, OLD)
            await until(service, lambda: running(service), may_fail=True)

        async def both() -> None:
            await fail()
            await take_back()

        heard = asyncio.run(under_load(service, 6, both))
        print(dict(heard.verdicts))
        assert set(heard.verdicts) == {OLD}
        assert service.replicas("VLLMServer") == before["VLLMServer"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_pool_that_shrinks_while_calls_run_loses_none_and_restarts_nothing(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, token_s=SLOWLY, grace_s=120.0, min_replicas=2, max_replicas=2) as service:
        asyncio.run(sized(service, 2))
        before = {name: service.replicas(name) for name in ALL}

        async def shrink() -> None:
            await asyncio.to_thread(service.deploy, OLD, [pool_of(1)])

            async def shrunk() -> bool:
                return len(service.replicas("VLLMServer")) == 1

            await until(service, shrunk)

        heard = asyncio.run(under_load(service, 12, shrink))
        print(dict(heard.verdicts))
        assert set(heard.verdicts) == {OLD}
        assert service.replicas("VLLMServer") < before["VLLMServer"]
        assert [service.replicas(name) for name in ALL[1:]] == [before[name] for name in ALL[1:]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_engines_of_vllm_are_exchanged_as_well(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, builder=REAL_BUILDER, grace_s=300.0) as service:
        heard = asyncio.run(upgraded(service, clients=4))
    print(dict(heard.verdicts))
    assert set(heard.verdicts) == {OLD, NEW}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_new_model_can_be_tried_beside_the_old_one_before_it_takes_its_place(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, grace_s=60.0) as service:
        before = {name: service.replicas(name) for name in ALL}

        async def run() -> None:
            await asyncio.to_thread(service.deploy, OLD, beside=NEW)

            async def both() -> bool:
                return bool((await service.status("sprint-next")).status == "RUNNING")

            await until(service, both)
            assert [await service.answer(0), await service.answer(0, "/next")] == [OLD, NEW]
            assert {name: service.replicas(name) for name in ALL} == before
            await asyncio.to_thread(service.deploy, OLD)
            await until(service, lambda: running(service))
            assert await service.answer(1) == OLD

        asyncio.run(run())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_clients_outlast_two_upgrades_one_after_the_other(url: str, tmp_path: Path) -> None:
    with upgradable(url, tmp_path, grace_s=120.0) as service:

        async def there_and_back() -> Heard:
            stop = asyncio.Event()
            asked = asyncio.create_task(asking(service, 6, stop))
            for model in (NEW, OLD):
                await asyncio.to_thread(service.deploy, model)
                await asyncio.sleep(1.0)
                await until(service, lambda: running(service))
            stop.set()
            return await asked

        heard = asyncio.run(there_and_back())
    print(dict(heard.verdicts))
    assert set(heard.verdicts) <= {OLD, NEW}
    assert heard.spans[-1][2] == OLD
