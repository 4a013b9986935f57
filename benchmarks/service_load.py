"""Asks both servers of the service benchmark for the same answers: in a closed loop, or as they arrive.

Kept light, because it runs on the servers' own cores: bodies are made beforehand and answers are read after the clock
has stopped. It knows the two ways of asking and no server's insides.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from benchmarks.service_script import Asked, Call

TIMEOUT_S = 600.0
_REFUSED = 503
_OK = 200


@dataclass
class Sample:
    """One question asked. Seconds on `time.perf_counter`'s clock; status 0: no answer at all.

    tokens  sampled for it, as the server counts them
    right   whether it was answered with all the tokens of the script
    """

    began_s: float
    first_s: float = 0.0
    end_s: float = 0.0
    status: int = 0
    tokens: int = 0
    right: bool = False
    bodies: list[bytes] = field(default_factory=list)

    def heard(self, body: bytes) -> None:
        self.first_s = self.first_s or time.perf_counter()
        self.bodies.append(body)

    def read(self, asked: Asked) -> None:
        """Reads what was answered, once the clock has stopped."""
        events = [event for body in self.bodies for event in _objects(body)]
        self.tokens = sum((event.get("usage") or {}).get("completion_tokens", 0) for event in events)
        self.right = self.status == _OK and self.tokens == asked.tokens
        self.bodies = []


def _objects(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a body: itself, or its server-sent events."""
    lines = [body] if body.startswith(b"{") else body.split(b"\n\n")
    for line in lines:
        with suppress(ValueError):  # the marker of a stream's end is none
            yield json.loads(line.removeprefix(b"data: "))


class Arm(Protocol):
    """A way to have a question answered."""

    name: str

    async def ask(self, asked: Asked, sample: Sample) -> None: ...


class Service:
    """Our endpoint: one request for a question."""

    def __init__(self, name: str, session: aiohttp.ClientSession, url: str, stream: bool) -> None:
        self.name = name
        self._session, self._url, self._stream = session, f"{url}/v1/chat/completions", stream

    async def ask(self, asked: Asked, sample: Sample) -> None:
        async with self._session.post(self._url, data=asked.body, headers=_JSON) as response:
            sample.status = response.status
            await _heard(response, sample, self._stream)


class RawCalls:
    """The raw server, driven by its client: a call for each plan and each execution of the question.

    Answers that are not streamed come whole, so executions begin when their plan is there; streamed ones begin with
    their prompt, as our engine's do.
    """

    def __init__(self, name: str, session: aiohttp.ClientSession, url: str, stream: bool) -> None:
        self.name = name
        self._session, self._url, self._stream = session, f"{url}/v1/completions", stream

    async def ask(self, asked: Asked, sample: Sample) -> None:
        age = 2 * int(time.time() / 0.1)  # the priorities that our engine gives
        for plan, executions in asked.rounds:
            async with asyncio.TaskGroup() as group:
                written = _Written([asyncio.Event() for _ in executions], [call.after for call in executions])
                for call, closed in zip(executions, written.closed, strict=True):
                    group.create_task(self._execute(call, age, sample, closed))
                await self._call(plan, age + 1, sample, written)
                written.end()
        await self._call(asked.final, age + 1, sample)

    async def _execute(self, call: Call, age: int, sample: Sample, closed: asyncio.Event) -> None:
        await closed.wait()
        await self._call(call, age, sample)

    async def _call(self, call: Call, priority: int, sample: Sample, written: _Written | None = None) -> None:
        body = call.body[:-1] + b',"priority":%d}' % priority
        async with self._session.post(self._url, data=body, headers=_JSON) as response:
            sample.status = response.status if sample.status in (0, _OK) else sample.status
            await _heard(response, sample, self._stream, written)


_JSON = {"content-type": "application/json"}


@dataclass(slots=True)
class _Written:
    """How much of a streamed plan is there, and the executions that wait for more of it."""

    closed: list[asyncio.Event]
    after: list[int]
    tokens: int = 0

    def more(self, tokens: int) -> None:
        self.tokens += tokens
        for event, after in zip(self.closed, self.after, strict=True):
            if self.tokens >= after:
                event.set()

    def end(self) -> None:
        for event in self.closed:
            event.set()


async def _heard(
    response: aiohttp.ClientResponse, sample: Sample, stream: bool, written: _Written | None = None
) -> None:
    if not stream or response.status != _OK:
        sample.heard(await response.read())
        return
    parts = []
    async for part in response.content.iter_any():
        sample.first_s = sample.first_s or time.perf_counter()
        parts.append(part)
        if written:
            written.more(part.count(b"data: "))
    sample.heard(b"".join(parts))


# --- loops -----------------------------------------------------------------------------------------------------------


async def closed_loop(arm: Arm, questions: Sequence[Asked], clients: int) -> list[Sample]:
    """So many clients, each of which asks its next question when the last one has been answered."""
    waiting, samples = deque(questions), list[tuple[Asked, Sample]]()

    async def client() -> None:
        while waiting:
            samples.append((asked := waiting.popleft(), sample := Sample(time.perf_counter())))
            await _asked(arm, asked, sample)

    await asyncio.gather(*(client() for _ in range(clients)))
    return _read(samples)


async def open_loop(arm: Arm, questions: Sequence[Asked], rate: float, seed: int) -> list[Sample]:
    """Questions that arrive as a Poisson process of `rate` per second, whatever became of those before."""
    rng, samples, tasks = random.Random(seed), list[tuple[Asked, Sample]](), []
    due = time.perf_counter()
    for asked in questions:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        samples.append((asked, sample := Sample(due)))  # late is late: the clock began when it should have been asked
        tasks.append(asyncio.create_task(_asked(arm, asked, sample)))
    await asyncio.gather(*tasks)
    return _read(samples)


async def _asked(arm: Arm, asked: Asked, sample: Sample) -> None:
    try:
        await arm.ask(asked, sample)
    except* (aiohttp.ClientError, TimeoutError, OSError):
        sample.status = 0
    sample.end_s = time.perf_counter()
    if sample.status == _REFUSED:
        await asyncio.sleep(0)


def _read(samples: Sequence[tuple[Asked, Sample]]) -> list[Sample]:
    for asked, sample in samples:
        sample.read(asked)
    return [sample for _, sample in samples]


def new_session() -> aiohttp.ClientSession:
    """A session without a limit to its connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
    )
