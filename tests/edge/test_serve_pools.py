"""Where calls go among several replicas, and how many replicas there are: real Ray Serve, real vLLM engines."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.pools.affinity import ranked
from serve_app.pools.readiness import ReadinessState
from serve_app.pools.serve_llm import ServeLLM
from serve_app.pools.stats import RouteCounts
from sprint.llm import Sampling
from sprint.tokenizer import HFTokenizer
from tests.edge.serving import PATIENCE_S, Served, served, until
from tests.edge.tiny_model import ENDLESS

LONG = Sampling(max_tokens=12_000, temperature=0.0)
ROUNDS: dict[str, Any] = {"mode": "parallel", "max_rounds": 4, "max_plan_tokens": 40, "temperature": 0.0}


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Served]:
    with served(folder, min_replicas=2, max_replicas=2, spill_over_margin=3) as service:
        yield service


def less(after: RouteCounts, before: RouteCounts) -> tuple[int, int, int]:
    """Calls, affinity hits and spill-overs between two counts."""
    return (
        after.calls - before.calls,
        after.affinity_hits - before.affinity_hits,
        after.spill_overs - before.spill_overs,
    )


def test_all_calls_of_a_request_go_to_the_replica_that_holds_its_prefix(service: Served) -> None:
    async def run() -> None:
        before = (await service.pool()).routes
        for number in range(6):
            rollout = await service.planner.rollout.remote(f"{ENDLESS} {number}", ROUNDS, f"request-{number}")
            assert rollout.usage.num_calls == 4
            assert rollout.usage.cached_prompt_tokens > 0
        assert less((await service.pool()).routes, before) == (24, 24, 0)

    asyncio.run(run())


def test_one_request_may_make_many_calls_at_once(service: Served) -> None:
    async def run() -> None:
        before = (await service.pool()).routes
        body = {"model": "tiny", "prompt": ENDLESS, "n": 6, "max_tokens": 30, "temperature": 0}
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            answer = await client.post(f"{service.url}/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["choices"]) == 6
        assert less((await service.pool()).routes, before)[0] == 6

    asyncio.run(run())


def test_what_is_too_much_for_one_replica_spills_over_and_is_counted(service: Served) -> None:
    prompt = HFTokenizer(service.folder).encode(ENDLESS)

    async def run() -> None:
        llm = ServeLLM(service.handle("VLLMServer"))
        async with AsyncExitStack() as stack:
            for _ in range(10):
                stream = await stack.enter_async_context(aclosing(llm.stream(prompt, LONG, session="s")))
                await anext(stream)
            first, second = ranked("s", service.replicas("VLLMServer"))
            running = {load.replica: load.running + load.waiting for load in await service.loads()}
            assert llm.tally.affinity_hits + llm.tally.spill_overs == llm.tally.calls == 10
            assert running[first] > running[second] > 0
        await until(service.idle)
        assert llm.tally.cancelled == 10

    asyncio.run(run())


def test_a_hedge_lands_on_another_replica(service: Served) -> None:
    prompt = HFTokenizer(service.folder).encode(ENDLESS)

    async def run() -> None:
        llm = ServeLLM(service.handle("VLLMServer"))
        for session in ("one", "two", "three"):
            first = llm.stream(prompt, LONG, session=session)
            hedge = llm.stream(prompt, LONG, session=f"{session}~3.2")
            async with aclosing(first), aclosing(hedge):
                await anext(first)
                await anext(hedge)
                assert [load.running for load in await service.loads()] == [1, 1]
            await until(service.idle)
        assert llm.tally.hedges == 3

    asyncio.run(run())


def test_raw_text_is_continued(service: Served) -> None:
    async def run() -> None:
        ids = HFTokenizer(service.folder).encode(ENDLESS)
        for prompt in (ENDLESS, ids):
            stream = service.planner.options(method_name="complete", stream=True).remote(
                prompt, {"max_tokens": 20, "temperature": 0.0}, "r"
            )
            chunks = [chunk for batch in [batch async for batch in stream] for chunk in batch]
            assert sum(len(chunk.token_ids) for chunk in chunks) == 20
        assert await service.planner.encode.remote(ENDLESS) == list(ids)

    asyncio.run(run())


def test_the_state_and_numbers_of_all_replicas_are_told(service: Served) -> None:
    async def run() -> None:
        readiness, stats = await service.readiness(), await service.stats()
        assert readiness.state is ReadinessState.READY
        assert readiness.pools[0].replicas == len(stats.pools[0].replicas) == 2
        assert stats.pools[0].kv_cache_use == 0.0

    asyncio.run(run())


def test_a_service_that_is_closed_ends_what_it_cannot_finish_and_takes_nothing_new(service: Served) -> None:
    """The last of this file: the planner stays closed."""

    async def run() -> None:
        asking = asyncio.create_task(service.chat(ENDLESS, max_tokens=12_000, sprint={"mode": "sequential"}))

        async def busy() -> bool:
            return not await service.idle()

        await until(busy)
        await service.planner.broadcast("close", 0.2).results_async()
        for answer in (await asking, await service.chat(ENDLESS)):
            assert answer.status_code == 503
            assert "shut" in answer.json()["error"]["message"]
        await until(service.idle)

    asyncio.run(run())
