"""What the door needs of a planner, and the planner behind a Ray Serve handle.

It knows the handle, not what stands behind it; Ray itself is imported only to recognise its errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from serve_app.pools.callers import own_name
from serve_app.pools.pools import TURN_S, Controller, none_runs
from serve_app.pools.serve_llm import original, unwrapped
from serve_app.pools.stats import ServiceStats, merged
from sprint.events import Event, Finished
from sprint.llm import Chunk
from sprint.types import Rollout

if TYPE_CHECKING:
    from serve_app.pools.readiness import Readiness

BROADCAST_S = 5.0


class PlannerClient(Protocol):
    """A planner as the door sees it. All errors are SprintErrors; leaving a call cancels everything under it."""

    async def rollout(self, question: str, options: Mapping[str, Any], request_id: str) -> Rollout:
        """The finished rollout. `options` are fields of EngineOptions."""
        ...

    def events(self, question: str, options: Mapping[str, Any], request_id: str) -> AsyncGenerator[list[Event], None]:
        """The rollout as it happens, a few events at a time, the last of them `Finished`."""
        ...

    def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Chunk], None]:
        """Raw text continued by the planner's model. `options` are fields of Sampling; the stop string is included."""
        ...

    async def encode(self, text: str) -> list[int]:
        """The ids that `complete` makes of a text. Raises InputError when they cannot be served."""
        ...

    async def readiness(self) -> Readiness:
        """Whether a model answers."""
        ...

    async def stats(self) -> ServiceStats:
        """What the pools are doing."""
        ...


class RemotePlanner:
    """A `PlannerClient` over a Ray Serve handle."""

    def __init__(self, handle: Any) -> None:
        self._rollout = handle.options(method_name="rollout")  # made once: options cost per call
        self._events = handle.options(method_name="events", stream=True)
        self._complete = handle.options(method_name="complete", stream=True)
        self._encode = handle.options(method_name="encode")
        self._readiness = handle.options(method_name="readiness")
        self._handle = handle
        self._name = own_name()  # so that planners can see when this process dies, and stop working for it

    async def rollout(self, question: str, options: Mapping[str, Any], request_id: str) -> Rollout:
        """See PlannerClient."""
        rollout: Rollout = await _answer(self._rollout.remote(question, options, request_id, self._name))
        return rollout

    async def events(
        self, question: str, options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Event], None]:
        """See PlannerClient."""
        response = self._events.remote(question, options, request_id, self._name)
        finished = False
        try:
            async for batch in unwrapped(response):
                finished = isinstance(batch[-1], Finished)
                yield batch
        finally:
            if not finished:
                response.cancel()

    async def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Chunk], None]:
        """See PlannerClient."""
        response = self._complete.remote(prompt, options, request_id, self._name)
        finished = False
        try:
            async for chunks in unwrapped(response):
                finished = bool(chunks) and chunks[-1].finish_reason is not None
                yield chunks
        finally:
            if not finished:
                response.cancel()

    async def encode(self, text: str) -> list[int]:
        """See PlannerClient."""
        ids: list[int] = await _answer(self._encode.remote(text))
        return ids

    async def readiness(self) -> Readiness:
        """See PlannerClient."""
        readiness: Readiness = await _answer(self._readiness.remote())
        return readiness

    async def turn(self, version: str) -> None:
        """Returns when a planner of that version answers; at once where none of any version runs.

        So does a door of no version (""), to which all planners are the same.
        """
        if not version:
            return
        controller = Controller()
        while version not in (said := await self._versions()):
            seen = await controller.deployment(self._handle.deployment_name)
            if not said and none_runs(seen):
                return
            await asyncio.sleep(TURN_S)

    async def _versions(self) -> list[str]:
        try:
            said = await self._handle.broadcast("version").results_async(timeout_s=BROADCAST_S, return_exceptions=True)
        except Exception:  # Ray Serve's words for "there is no replica" are several
            return []
        return [version for version in said if isinstance(version, str)]

    async def stats(self) -> ServiceStats:
        """See PlannerClient. Every planner replica counts for itself, so all are asked."""
        return merged(await self._handle.broadcast("stats").results_async(timeout_s=BROADCAST_S))


async def _answer(response: Any) -> Any:
    """What a call answers, with errors as they were raised; who stops waiting cancels it."""
    answered = False
    try:
        answer = await response
        answered = True
        return answer
    except Exception as error:
        answered = True
        raise original(error) from error
    finally:
        if not answered:
            response.cancel()
