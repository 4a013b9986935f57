"""When the next request may leave: so many in flight, so many a minute, and none while the endpoint asks for a pause.

It knows requests only as a number of tokens. The number in flight adapts as TCP does: halved when the endpoint refuses
for load, grown again with every answer, never above the given bound.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

GROWTH = 2.0  # by how many requests the window grows while one window's worth of them is answered


@dataclass(slots=True)
class Bucket:
    """A token bucket: `per_minute` on average, and at most a second's worth (or one unit) saved up.

    An amount larger than the bucket may leave when it is full, and is paid back before the next one leaves: so any
    minute holds at most `per_minute`, the saved second and one such amount.
    """

    per_minute: float
    level: float = field(init=False)
    at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self.level = self.capacity

    @property
    def capacity(self) -> float:
        return max(1.0, self.per_minute / 60)

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may be taken; 0: now."""
        self.level = min(self.capacity, self.level + max(0.0, now - self.at) * self.per_minute / 60)
        self.at = now
        short = min(amount, self.capacity) - self.level
        return short * 60 / self.per_minute if short > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take `amount`; a negative one is given back."""
        self.level -= amount


@dataclass(slots=True)
class Slot:
    """One request's permission to be in flight."""

    began: float  # on the pacer's clock
    reserved_tokens: float


class Pacer:
    """Hands out slots in the order in which they were asked for. For one event loop; safe against cancellation."""

    def __init__(
        self,
        most: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self.window = float(most)
        self.in_flight = 0
        self.refusals = 0  # times the window was halved since the last answer
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self._clock = clock
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()
        self._paused_until = self._narrowed = -math.inf

    @asynccontextmanager
    async def slot(self, tokens: float) -> AsyncIterator[Slot]:
        """Wait for a slot for a request of about `tokens` tokens, and hold it for the length of the block."""
        async with self._turn:
            while (delay := self._wait_s(tokens)) > 0:
                await self._rest(delay)
            slot = self._enter(tokens)
        try:
            yield slot
        finally:
            self.in_flight -= 1
            self._changed.set()

    def settle(self, slot: Slot, tokens: float) -> None:
        """The request was answered and took `tokens` tokens in truth."""
        if self._tokens:
            self._tokens.take(tokens - slot.reserved_tokens)
        self.window = min(float(self.most), self.window + GROWTH / self.window)
        self.refusals = 0
        self._changed.set()

    def narrow(self, slot: Slot, pause_s: float) -> None:
        """The endpoint refused for load: nothing leaves for `pause_s` seconds, and then half as many at once.

        Refusals of requests that were already under way when the window was last halved do not halve it again.
        """
        now = self._clock()
        self._paused_until = max(self._paused_until, now + pause_s)
        if slot.began > self._narrowed:
            self._narrowed = now
            self.refusals += 1
            self.window = max(1.0, self.window / 2)

    def _wait_s(self, tokens: float) -> float:
        if self.in_flight >= int(self.window):
            return math.inf
        now = self._clock()
        waits = [self._paused_until - now]
        waits += [self._requests.wait_s(now, 1)] if self._requests else []
        waits += [self._tokens.wait_s(now, tokens)] if self._tokens else []
        return max(waits)

    async def _rest(self, delay: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(None if math.isinf(delay) else delay):
                await self._changed.wait()
        except TimeoutError:
            return  # the time has come: look again

    def _enter(self, tokens: float) -> Slot:
        self.in_flight += 1
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)
        return Slot(self._clock(), tokens)
