"""Clients that go away, over real sockets: everything that was done for them ends, and nothing else does.

The model follows a script, so that it is known what a request is at when its client leaves. How long it takes until
the engine is idle is printed, and not asserted.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from benchmarks.service_metrics import unfinished
from benchmarks.structures import Structure
from sprint.usage import RoundCounts
from tests.edge.scripted_service import Numbers, Served, serving

LONG = 3_000  # tokens that take seconds to write
PLANNING, EXECUTING, SHORT = range(3)
STRUCTURES = [
    Structure("a plan", 20, (RoundCounts(LONG),), 20),
    Structure("executions", 20, (RoundCounts(120, (40, 80, 115), (LONG, LONG, LONG)),), 20),
    Structure("short", 20, (RoundCounts(90, (40, 80), (60, 60)),), 20),
]
SEQUENCES, REQUESTS = 4, 6  # that the engine decodes at once, that the house works on at once
LIMIT_S = 60.0


@dataclass(frozen=True)
class Moment:
    """When clients leave: so many of them ask `question`, and leave once `come` says so of the service's numbers."""

    question: int
    clients: int
    come: Callable[[Numbers], bool]


MOMENTS = {
    "during the plan": Moment(PLANNING, 1, lambda numbers: numbers["sprint_pool_running"] == 1),
    "during the executions": Moment(EXECUTING, 1, lambda numbers: numbers["sprint_pool_running"] == 3),
    "in the engine's queue": Moment(EXECUTING, 3, lambda numbers: numbers["sprint_pool_waiting"] >= 3),
    "in the house's queue": Moment(PLANNING, REQUESTS + 3, lambda numbers: numbers["sprint_requests_queued"] == 3),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models") / "scripted"
    http = {"max_requests": REQUESTS}
    with serving(folder, STRUCTURES, max_num_seqs=SEQUENCES, kv_cache_mib=64, http=http) as server:
        yield server


async def ask(served: Served, question: int, stream: bool) -> httpx.Response:
    """Asks on a connection of its own; cancelling this closes the socket."""
    body = served.chat(served.staged.questions[question], stream=stream)
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        return await client.post(f"{served.url}/v1/chat/completions", json=body)


async def until(served: Served, come: Callable[[Numbers], bool]) -> float:
    """Waits until `come`; seconds that it took."""
    began = time.perf_counter()
    async with httpx.AsyncClient(timeout=LIMIT_S) as client, asyncio.timeout(LIMIT_S):
        while not come(await served.numbers(client)):
            await asyncio.sleep(0.01)
    return time.perf_counter() - began


def idle(numbers: Numbers) -> bool:
    return unfinished(numbers) == 0


async def leave(*clients: asyncio.Task[Any]) -> None:
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_client_that_goes_away_takes_all_its_calls_with_it(served: Served, name: str, stream: bool) -> None:
    moment = MOMENTS[name]

    async def come_and_go() -> float:
        await until(served, idle)
        clients = [asyncio.create_task(ask(served, moment.question, stream)) for _ in range(moment.clients)]
        await until(served, moment.come)
        await leave(*clients)
        return await until(served, idle)

    took_s = asyncio.run(come_and_go())
    print(f"\n{name}, {'streamed' if stream else 'whole'}: nothing was left after {took_s:.2f} s")


def test_a_client_that_stays_is_answered_in_full(served: Served) -> None:
    async def stay() -> httpx.Response:
        leaver = asyncio.create_task(ask(served, EXECUTING, stream=True))
        await until(served, MOMENTS["during the executions"].come)
        stayer = asyncio.create_task(ask(served, SHORT, stream=False))
        await until(served, lambda numbers: numbers["sprint_rollouts_in_progress"] == 2)
        await leave(leaver)
        return await stayer

    answer = asyncio.run(stay()).json()
    asked = served.staged.questions[SHORT]
    assert answer["choices"][0]["message"]["content"] == asked.answer
    assert answer["usage"]["completion_tokens"] == asked.tokens


def test_work_goes_on_after_many_have_come_and_gone(served: Served) -> None:
    async def many() -> Numbers:
        for _ in range(10):
            clients = [asyncio.create_task(ask(served, EXECUTING, stream=number % 2 == 0)) for number in range(4)]
            await until(served, lambda numbers: numbers["sprint_pool_running"] >= 1)
            await leave(*clients)
        assert (await ask(served, SHORT, stream=False)).status_code == 200
        await until(served, idle)
        async with httpx.AsyncClient() as client:
            return await served.numbers(client)

    numbers = asyncio.run(many())
    assert numbers["sprint_requests_in_flight"] == 0
