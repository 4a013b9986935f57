"""Requests without HTTP, for tests of admission: who they are, how long they stay, and that nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from serve_app.api.admission import Admission

SETTLING = 5  # turns of the event loop until everybody who can go on has


async def settled() -> None:
    for _ in range(SETTLING):
        await asyncio.sleep(0)


class Guest:
    """A request that works until it is told to end; `slow` ones are read until they are told to have been."""

    def __init__(self, house: Admission, client: str, order: list[str], *, slow: bool = False) -> None:
        self.client = client
        self.read, self.end = asyncio.Event(), asyncio.Event()
        if not slow:
            self.read.set()
        self.place = house.enter(client)
        self.task = asyncio.create_task(self._stay(order))

    async def _stay(self, order: list[str]) -> None:
        with self.place as place:
            if not self.read.is_set():
                await place.before(self.read.wait())
            await place.turn()
            order.append(self.client)
            await self.end.wait()


def running(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))
