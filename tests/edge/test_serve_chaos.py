"""Replicas that are killed while they work: every request is answered, exactly once, or told to come back.

Two replicas, twenty rounds; in each, the process of a replica or of its engine gets SIGKILL while both are at work.
The model follows a script, so an answer that lost or repeated a token is seen. Run by `make test-slow`; figures are
printed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.service_metrics import unfinished
from benchmarks.service_script import Asked
from benchmarks.structures import Structure
from sprint.usage import RoundCounts
from tests.edge.scripted_service import Numbers, Served, serving

ROUNDS, CLIENTS = 20, 12
ANSWER_S, RECOVERY_S = 240.0, 300.0  # what takes longer hangs
LENGTHS = (RoundCounts(90, (40, 80), (220, 180)), RoundCounts(60, (50,), (160,)))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models") / "scripted"
    structures = [Structure(f"question {number}", 16, LENGTHS, 40) for number in range(ROUNDS * CLIENTS)]
    with serving(folder, structures, kv_cache_mib=64, min_replicas=2, max_replicas=2, num_cpus=8) as server:
        yield server


# --- one request -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """What a client heard: a status, the answers it was given, the tokens it was charged, and the seconds it took.

    come_back  whether it was told to try again: by the header, or in the midst of a stream by the error's code
    """

    status: int
    answers: tuple[str, ...]
    tokens: int
    took_s: float
    come_back: bool


async def ask(client: httpx.AsyncClient, served: Served, asked: Asked, stream: bool) -> Heard:
    began = time.perf_counter()
    body = served.chat(asked, stream=stream)
    response = await client.post(f"{served.url}/v1/chat/completions", json=body)
    read = _streamed if stream and response.status_code == 200 else _whole
    status, answers, tokens = read(response)
    come_back = status == 503 and (response.status_code == 200 or "retry-after" in response.headers)
    return Heard(status, answers, tokens, time.perf_counter() - began, come_back)


def _whole(response: httpx.Response) -> tuple[int, tuple[str, ...], int]:
    said = response.json()
    answers = tuple(choice["message"]["content"] for choice in said.get("choices", ()))
    return response.status_code, answers, said.get("usage", {}).get("completion_tokens", 0)


def _streamed(response: httpx.Response) -> tuple[int, tuple[str, ...], int]:
    """An error in the midst of a stream counts as its status; a stream that just ends counts as 0."""
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    events: list[dict[str, Any]] = [json.loads(line) for line in data if line != "[DONE]"]
    if any(event.get("error", {}).get("code") == "unavailable" for event in events):
        return 503, (), 0
    texts = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ())]
    ends = sum(choice.get("finish_reason") is not None for event in events for choice in event.get("choices", ()))
    tokens = sum((event.get("usage") or {}).get("completion_tokens", 0) for event in events)
    return (200 if ends == 1 and data[-1] == "[DONE]" else 0), ("".join(texts),), tokens


def verdict(asked: Asked, heard: Heard | BaseException) -> str:
    """`answered`, `told to come back`, or what is wrong."""
    if isinstance(heard, TimeoutError | httpx.TimeoutException):
        return "hung"
    if isinstance(heard, BaseException):
        return f"broke off: {type(heard).__name__}"
    if heard.come_back:
        return "told to come back"
    if heard.status != 200:
        return f"failed: {heard.status}"
    return "answered" if (heard.answers, heard.tokens) == ((asked.answer,), asked.tokens) else "answered wrongly"


# --- one round -------------------------------------------------------------------------------------------------------


def processes(name: str) -> list[psutil.Process]:
    """The children of this process that are called so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            found += [process] if name in " ".join(process.cmdline()) else []
        except psutil.NoSuchProcess:
            continue
    return found


VICTIMS = ("ServeReplica:sprint:VLLMServer", "EngineCore")


async def until(client: httpx.AsyncClient, served: Served, wanted: str, least: float) -> Numbers:
    """Waits until the number `wanted` is at least so much."""
    async with asyncio.timeout(RECOVERY_S):
        while (numbers := await served.numbers(client)).get(f"sprint_{wanted}", 0.0) < least:
            await asyncio.sleep(0.1)
    return numbers


@asynccontextmanager
async def asking(client: httpx.AsyncClient, served: Served, questions: list[Asked]) -> AsyncIterator[list[Any]]:
    """So many clients at once, every second of whom streams; what they heard is there when the block is left."""
    heard: list[Any] = []
    tasks = [asyncio.create_task(ask(client, served, asked, index % 2 == 0)) for index, asked in enumerate(questions)]
    yield heard
    heard += await asyncio.gather(*tasks, return_exceptions=True)


async def one_round(client: httpx.AsyncClient, served: Served, number: int, rng: random.Random) -> list[Any]:
    """Asks, kills, and waits for what the clients hear and for the replica to be replaced."""
    questions = served.staged.questions[number * CLIENTS : (number + 1) * CLIENTS]
    await until(client, served, "pool_replicas", 2)
    async with asking(client, served, questions) as heard:
        await until(client, served, "pool_running", 6)
        await asyncio.sleep(rng.uniform(0, 0.5))
        victim = rng.choice(processes(VICTIMS[number % 2]))
        victim.kill()
    return heard


async def all_rounds(served: Served) -> tuple[Counter[str], list[float], Numbers]:
    rng, verdicts, times = random.Random(0), Counter[str](), list[float]()
    async with httpx.AsyncClient(timeout=ANSWER_S, limits=httpx.Limits(max_connections=None)) as client:
        for number in range(ROUNDS):
            heard = await one_round(client, served, number, rng)
            questions = served.staged.questions[number * CLIENTS :]
            verdicts.update(verdict(asked, each) for asked, each in zip(questions, heard, strict=False))
            times += [each.took_s for each in heard if isinstance(each, Heard)]
            print(f"round {number + 1}: {dict(verdicts)}, slowest {max(times):.1f} s", flush=True)
        numbers = await until(client, served, "pool_replicas", 2)
    return verdicts, times, numbers


def test_every_request_survives_the_death_of_replicas(served: Served) -> None:
    verdicts, times, numbers = asyncio.run(all_rounds(served))
    times.sort()
    retries, lost = numbers["sprint_pool_retries_total"], numbers["sprint_pool_lost_total"]
    print(f"\n{ROUNDS} rounds, {sum(verdicts.values())} requests: {dict(verdicts)}")
    print(f"calls taken up elsewhere {retries:.0f}, given up {lost:.0f}")
    print(f"seconds to an answer: median {times[len(times) // 2]:.1f}, longest {times[-1]:.1f}")
    assert set(verdicts) <= {"answered", "told to come back"}
    assert verdicts["answered"] > ROUNDS * CLIENTS / 2
    assert retries > 0, "no call was hit"
    assert unfinished(numbers) == 0
