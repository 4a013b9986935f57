"""How many executors a new request may run at once, when the engines are busy.

More executors than the engines decode at once do not make a request faster: they wait in queues, and everybody's plans
behind them. So while calls wait, a new request gets its share of what is decoded at once, and at least one executor.
Pure but for `Width`, which asks for the numbers now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serve_app.pools.stats import ServiceStats

EVERY_S = 1.0

_log = logging.getLogger(__name__)


def fair_width(waiting: int, slots: int, rollouts: int) -> int | None:
    """Executors at once for a new request; None: as many as it likes, for nothing waits.

    waiting   calls in the engines' queues
    slots     calls that the engines decode at once
    rollouts  requests that are being answered, the new one among them
    """
    return max(1, slots // max(1, rollouts)) if waiting else None


class Width:
    """The current width. `stats` asks for the numbers, `slots` is how many calls one replica decodes at once."""

    def __init__(self, stats: Callable[[], Awaitable[ServiceStats]], slots: int, every_s: float = EVERY_S) -> None:
        self.now: int | None = None
        self._stats, self._slots, self._every_s = stats, slots, every_s
        self._watch: asyncio.Task[None] | None = None

    def at_most(self, wanted: int) -> int:
        """`wanted`, or less while calls wait."""
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watching())
        return wanted if self.now is None else min(wanted, self.now)

    async def _watching(self) -> None:
        while True:
            try:
                stats = await self._stats()
            except Exception as error:  # whatever it is: without numbers, nobody is narrowed
                _log.debug("no numbers for the width: %s", error)
                self.now = None
            else:
                replicas = len(stats.pools[-1].replicas) if stats.pools else 0
                self.now = fair_width(stats.waiting, self._slots * replicas, stats.rollouts + 1) if replicas else None
            await asyncio.sleep(self._every_s)
