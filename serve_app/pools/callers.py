"""For whom a replica works: when the process behind a caller dies, what was asked by it is stopped.

Ray tells a caller when its callee dies, and not the other way round: a generator whose reader is gone is run to its
end. So callers say who they are, by the name of their actor, and are looked after while something runs for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.observe import logs

EVERY_S = 2.0
SERVE_NAMESPACE = "serve"  # where Ray Serve keeps its actors

_log = logging.getLogger(__name__)


def own_name() -> str:
    """The name under which others can look whether this process lives; empty where it has none that they can find."""
    import ray

    context = ray.get_runtime_context()
    name = context.get_actor_name() if context.get_actor_id() else None
    return name if name and not is_gone(name) else ""


def is_gone(caller: str) -> bool:
    """Whether the replica of that name is dead. Blocks for as long as Ray takes to say."""
    import ray

    try:
        ray.get_actor(caller, namespace=SERVE_NAMESPACE)
    except ValueError:  # which is how Ray says that there is none
        return True
    return False


class Callers:
    """Who is worked for, in one event loop."""

    def __init__(self, gone: Callable[[str], bool] = is_gone, every_s: float = EVERY_S) -> None:
        self._gone, self._every_s = gone, every_s
        self._stops: dict[str, list[Callable[[], object]]] = {}
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def working_for(self, caller: str, stop: Callable[[], object]) -> Iterator[None]:
        """While the block runs, `stop` is called when the caller is found dead. Without a name nobody looks."""
        if not caller:
            yield
            return
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watching())
        stops = self._stops.setdefault(caller, [])
        stops.append(stop)
        try:
            yield
        finally:
            stops.remove(stop)
            if not stops and self._stops.get(caller) is stops:
                del self._stops[caller]

    async def _watching(self) -> None:
        while self._stops:
            await asyncio.sleep(self._every_s)
            for caller in list(self._stops):
                if await self._is_gone(caller):
                    stops = self._stops.pop(caller, [])
                    logs.say(_log, logging.WARNING, "a caller is gone", caller=caller, calls=len(stops))
                    for stop in list(stops):
                        stop()

    async def _is_gone(self, caller: str) -> bool:
        try:
            return await asyncio.to_thread(self._gone, caller)
        except Exception as error:  # Ray cannot say just now: nobody is given up for that
            _log.debug("cannot look after %s: %s", caller, error)
            return False
