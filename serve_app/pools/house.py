"""Who is in a planner's house, and how the house is closed: nobody new comes in, those inside may finish for a while.

It knows questions only as something that takes time. An asyncio program's, for one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from serve_app.pools.callers import Callers
from sprint.errors import LLMUnavailable

_LOOK_S = 0.05


class House:
    """Counts who is inside, and can send them away."""

    def __init__(self, callers: Callers | None = None) -> None:
        self._callers = callers or Callers()
        self._inside: set[asyncio.Timeout] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let in any more."""
        return self._closed

    def __len__(self) -> int:
        return len(self._inside)

    @asynccontextmanager
    async def visit(self, caller: str = "") -> AsyncIterator[None]:
        """While a question is worked on, for `caller` (see `callers`): when that dies, so does the work on it.

        Raises LLMUnavailable when the house is closed, or closes meanwhile.
        """
        if self._closed:
            raise LLMUnavailable("the service is shutting down")
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._inside.add(limit)
                with self._callers.working_for(caller, lambda: _end(limit)):
                    yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise LLMUnavailable("the service was shut down before the answer was finished") from None
        finally:
            self._inside.discard(limit)

    async def close(self, grace_s: float) -> None:
        """Lets nobody in any more; whoever is still inside after `grace_s` is sent away."""
        self._closed = True
        end = asyncio.get_running_loop().time() + grace_s
        while self._inside and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_LOOK_S)
        for limit in list(self._inside):
            _end(limit)
        while self._inside:
            await asyncio.sleep(_LOOK_S)


def _end(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is ending already
        limit.reschedule(0.0)
