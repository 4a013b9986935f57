"""Server-sent events: several sources told as one stream, with a sign of life where nothing is said.

It knows asyncio and the format of events on the wire, neither rollouts nor requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

DONE = "data: [DONE]\n\n"
ALIVE = ": still at work\n\n"  # a comment, which clients pass over
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

T = TypeVar("T")


def sse(value: Mapping[str, Any]) -> str:
    """One server-sent event. ASCII only: many clients split lines at Unicode's line separators too."""
    return f"data: {json.dumps(value)}\n\n"


class EventStream(Response):
    """Sends texts as they come. Unlike Starlette's own, it leaves it to others to see whether the client is there."""

    media_type = "text/event-stream"

    def __init__(self, first: str, others: AsyncGenerator[str, None]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._first = first
        self._others = others

    @classmethod
    async def begun(cls, texts: AsyncGenerator[str, None]) -> EventStream:
        """A stream whose first text is there: what goes wrong before is raised here, and gets a status of its own."""
        try:
            return cls(await anext(texts), texts)
        except BaseException:
            await texts.aclose()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._others) as others:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send(_body(self._first))
            async for text in others:
                if text:
                    await send(_body(text))
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode("ascii"), "more_body": True}


@dataclass(frozen=True, slots=True)
class _Said:
    index: int
    item: Any


@dataclass(frozen=True, slots=True)
class _Over:
    error: BaseException | None = None


async def merged(
    sources: Sequence[AsyncGenerator[T, None]], quiet_s: float
) -> AsyncGenerator[tuple[int, T] | None, None]:
    """What the sources say, with the index of each; None for every `quiet_s` seconds of silence.

    Each source runs in one task of its own and no further ahead than its reader, and raises here what it raises. When
    this generator is closed all of them are.
    """
    queue: asyncio.Queue[_Said | _Over] = asyncio.Queue(len(sources))
    tasks = [asyncio.create_task(_pour(index, source, queue)) for index, source in enumerate(sources)]
    left = len(tasks)
    try:
        while left:
            said = await _next(queue, quiet_s)
            if isinstance(said, _Over):
                left -= 1
                if said.error is not None:
                    raise said.error
            else:
                yield None if said is None else (said.index, said.item)
    finally:
        await ended(tasks)


async def _next(queue: asyncio.Queue[_Said | _Over], quiet_s: float) -> _Said | _Over | None:
    try:
        async with asyncio.timeout(quiet_s):
            return await queue.get()
    except TimeoutError:
        return None


async def _pour(index: int, source: AsyncGenerator[Any, None], queue: asyncio.Queue[_Said | _Over]) -> None:
    try:
        async with aclosing(source):
            async for item in source:
                await queue.put(_Said(index, item))
    except Exception as error:  # it is the reader's, who raises it
        await queue.put(_Over(error))
    else:
        await queue.put(_Over())


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first error ends all of it and is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await ended(tasks)


async def ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels what still runs, and waits until it is gone."""
    for task in tasks:
        task.cancel()
    waiting: Awaitable[Any] = asyncio.gather(*tasks, return_exceptions=True)
    await waiting
