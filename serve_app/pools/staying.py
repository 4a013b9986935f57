"""Asks the last replicas of a model that is being replaced to stay until this process has done its work with them.

It knows a deployment's handle and this process's view of the pool (`versions`), which says when to ask.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from serve_app.observe import logs
from serve_app.pools.affinity import Ticket
from serve_app.pools.versions import Stay, View

ANSWER_S = 10.0  # a replica that takes longer is not there any more
LOOK_S = 1.0  # how often it is looked whether the replica is still needed

_log = logging.getLogger(__name__)


class Staying:
    """Holds replicas of one pool, for one event loop. `name` is that of this process, see `callers`."""

    def __init__(self, handle: Any, view: View, name: str) -> None:
        self._hold = handle.options(method_name="hold", stream=True)
        self._view = view
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        view.ask = lambda name: self._loop.call_soon_threadsafe(self._ask, name)

    @property
    def held(self) -> int:
        """How many replicas are asked to stay, or do."""
        return len(self._tasks)

    def end(self) -> None:
        """Nobody is asked to stay any more, and who was may go."""
        self._view.ask = None
        for task in self._tasks:
            task.cancel()

    def _ask(self, name: str) -> None:
        task = asyncio.create_task(self._stay(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stay(self, name: str) -> None:
        """While the replica is needed, a call to it is open: one that is stopped ends its calls first."""
        response = self._hold.remote(Ticket(only=name, caller=self._name))
        says = "is gone"
        try:
            async with asyncio.timeout(ANSWER_S):
                await anext(response)
            self._view.heard(name, Stay.STAYS)
            logs.say(_log, logging.WARNING, "the last replica of a replaced model stays", replica=name)
            await self._until_over(response, name)
        except Exception as error:  # Ray's words for it are many
            says = f"is gone: {type(error).__name__}"
        finally:
            self._view.heard(name, Stay.GONE)
            response.cancel()
            logs.say(_log, logging.INFO, "a replica of a replaced model " + says, replica=name)

    async def _until_over(self, response: Any, name: str) -> None:
        """Returns when the replica is not needed any more. Raises what ends it before."""
        end = asyncio.ensure_future(anext(response))
        while name in self._view.stays and not end.done():
            await asyncio.wait({end}, timeout=LOOK_S)
        if end.done():
            with suppress(StopAsyncIteration):
                end.result()
        end.cancel()
