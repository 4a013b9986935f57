"""What breaks, and what the service makes of it: dead replicas, dead engines, a dead planner.

Two real vLLM replicas of a tiny model. Each test leaves the service whole.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from serve_app.pools.callers import is_gone, own_name
from serve_app.pools.readiness import ReadinessState
from serve_app.pools.serve_llm import ServeLLM
from sprint.errors import InputError
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import HFTokenizer
from tests.edge.serving import Served, served, until
from tests.edge.tiny_model import ENDLESS

GREEDY = Sampling(max_tokens=1500, temperature=0.0)
LONG = {"mode": "sequential", "max_tokens": 12_000, "temperature": 0.0}


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Served]:
    with served(folder, min_replicas=2, max_replicas=2) as service:
        yield service


async def whole(service: Served) -> bool:
    return (await service.readiness()).state is ReadinessState.READY


async def asked(llm: ServeLLM, prompt: tuple[int, ...], sampling: Sampling, session: str) -> AsyncIterator[Chunk]:
    async with aclosing(llm.stream(prompt, sampling, session=session)) as chunks:
        async for chunk in chunks:
            yield chunk


def ids_of(chunks: list[Chunk]) -> tuple[int, ...]:
    return tuple(token_id for chunk in chunks for token_id in chunk.token_ids)


def test_a_call_whose_replica_dies_goes_on_elsewhere_as_if_nothing_had_happened(service: Served) -> None:
    prompt = tuple(HFTokenizer(service.folder).encode(ENDLESS))

    async def run() -> None:
        llm = ServeLLM(service.handle("VLLMServer"))
        calm = [chunk async for chunk in asked(llm, prompt, GREEDY, "s")]
        disturbed: list[Chunk] = []
        async for chunk in asked(llm, prompt, GREEDY, "s"):
            disturbed.append(chunk)
            if not llm.tally.retries and len(ids_of(disturbed)) > 200:
                for ticket in list(llm._open.values()):
                    if ticket.replica is not None and ticket.replica in service.replicas("VLLMServer"):
                        service.kill("VLLMServer", ticket.replica)
        assert llm.tally.retries == 1
        assert ids_of(disturbed) == ids_of(calm)
        assert "".join(chunk.text for chunk in disturbed) == "".join(chunk.text for chunk in calm)
        assert disturbed[-1].finish_reason is FinishReason.LENGTH
        assert len({chunk.cached_tokens for chunk in disturbed}) == 1
        await until(lambda: whole(service))

    asyncio.run(run())


def test_a_call_whose_engine_dies_goes_on_elsewhere_and_the_replica_is_replaced(service: Served) -> None:
    import psutil

    prompt = tuple(HFTokenizer(service.folder).encode(ENDLESS))

    async def run() -> None:
        before = set(service.replicas("VLLMServer"))
        llm = ServeLLM(service.handle("VLLMServer"))
        calm = [chunk async for chunk in asked(llm, prompt, GREEDY, "s")]
        disturbed: list[Chunk] = []
        async for chunk in asked(llm, prompt, GREEDY, "s"):
            if not disturbed:
                replica = next(iter(llm._open.values())).replica
                assert replica is not None
                for process in psutil.Process(service.pid("VLLMServer", replica)).children(recursive=True):
                    process.kill()
            disturbed.append(chunk)
        assert llm.tally.retries == 1
        assert ids_of(disturbed) == ids_of(calm)

        async def replaced() -> bool:
            now = set(service.replicas("VLLMServer"))
            return len(now) == 2 and now != before and await whole(service)

        await until(replaced)

    asyncio.run(run())


def test_a_request_survives_the_death_of_a_replica(service: Served) -> None:
    async def run() -> None:
        options: dict[str, Any] = {"max_tokens": 2000, "sprint": {"mode": "sequential"}}
        calm = await service.chat(ENDLESS, **options)
        asking = asyncio.create_task(service.chat(ENDLESS, **options))

        async def busy() -> bool:
            return any(load.running for load in await service.loads())

        await until(busy, 0.02)
        (replica,) = [load.replica for load in await service.loads() if load.running]
        service.kill("VLLMServer", replica)
        disturbed = await asking
        assert disturbed.status_code == calm.status_code == 200, disturbed.text
        assert disturbed.json()["choices"] == calm.json()["choices"]
        assert (await service.pool()).routes.retries >= 1
        await until(lambda: whole(service))

    asyncio.run(run())


def test_a_replica_has_a_name_under_which_others_see_whether_it_lives(service: Served) -> None:
    """Without it nobody would stop what was asked by a planner that is dead."""
    from ray import serve

    @serve.deployment(ray_actor_options={"num_cpus": 0})
    class Named:
        def __init__(self) -> None:
            self._name = own_name()  # as the planner and the ingress learn it: before they are ready

        def name(self) -> str:
            return self._name

    async def run() -> None:
        handle = serve.run(Named.bind(), name="named", route_prefix=None)
        name = await handle.name.remote()
        assert name
        assert not is_gone(name)
        serve.delete("named")
        await until(lambda: asyncio.to_thread(is_gone, name))

    asyncio.run(run())


def test_a_value_that_no_engine_samples_with_is_the_callers_mistake(service: Served) -> None:
    async def run() -> None:
        llm = ServeLLM(service.handle("VLLMServer"))
        with pytest.raises(InputError, match="temperature") as raised:
            await anext(llm.stream((1,), Sampling(5, temperature=3.0)))
        assert raised.value.field == "temperature"
        assert llm.tally.retries == 0
        assert await whole(service)

    asyncio.run(run())


def test_a_dead_planner_is_an_error_for_its_clients_and_leaves_nothing_running(service: Served) -> None:
    async def run() -> None:
        asking = asyncio.create_task(service.chat(ENDLESS, max_tokens=12_000, sprint={"mode": "sequential"}))

        async def busy() -> bool:
            return any(load.running for load in await service.loads())

        await until(busy)
        (planner,) = service.replicas("Planner")
        service.kill("Planner", planner)
        answer = await asking
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        await until(service.idle)
        await until(lambda: whole(service))
        assert (await service.chat(ENDLESS, max_tokens=8)).status_code == 200

    asyncio.run(run())
