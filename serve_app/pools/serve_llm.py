"""The LLM seam over a Ray Serve handle: `ServeLLM` streams from the replicas of `VLLMServer`.

A call outlives its replica: when that dies or its engine stops, the call goes on elsewhere from the ids sampled so far.
It knows the handle and nothing of what stands behind it. Ray is imported only to recognise its errors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from serve_app.observe import logs
from serve_app.pools.affinity import Tally, Ticket, hedged_session
from serve_app.pools.callers import own_name
from serve_app.pools.continuation import Continuation
from serve_app.pools.vllm_server import CallDropped, EngineStopped
from sprint.errors import LLMError, LLMUnavailable, SprintError
from sprint.llm import Chunk, Sampling

PATIENCE_S = 60.0  # a replica that died is back by then
RETRIES = 3  # a call that kills its replica must not kill them all
PAUSE_S = 0.1  # before a call is taken up again, doubled each time

_log = logging.getLogger(__name__)


class ServeLLM:
    """Implements `sprint.llm.LLM`.

    handle      a deployment handle whose `generate` streams chunks
    patience_s  how long a call waits while there is no replica at all, before LLMUnavailable is raised
    """

    def __init__(self, handle: Any, patience_s: float = PATIENCE_S) -> None:
        self._generate = handle.options(method_name="generate", stream=True)  # made once: options cost per call
        self._patience_s = patience_s
        self._open: dict[tuple[str, int], Ticket] = {}
        self._name = own_name()
        self.tally = Tally()

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`. Raises LLMUnavailable when no replica is left that could end the call."""
        call = Continuation(prompt_ids, sampling)
        with self._ticket(session, call) as ticket:
            failures = 0
            while not call.finished:
                if call.tokens_left < 1:
                    yield call.end()
                    return
                try:
                    async with aclosing(self._attempt(call, ticket)) as chunks:
                        async for chunk in chunks:
                            yield call.take(chunk)
                            if call.finished and chunk.finish_reason is None:
                                break  # the engine does not know that, and would go on
                except _ReplicaLost as lost:
                    failures += 1
                    await self._recover(ticket, failures, lost)

    async def _attempt(self, call: Continuation, ticket: Ticket) -> AsyncGenerator[Chunk, None]:
        """What one replica samples of the call."""
        sampling = call.attempt()
        response = self._generate.remote(call.prompt_ids, sampling, None, ticket, call.singly_chars)
        patience = _Patience(response, ticket, self._patience_s)
        ended = False
        try:
            async for chunk in response:
                ended = chunk.finish_reason is not None
                yield chunk
        except Exception as error:
            if patience.is_over:
                self.tally.lost += 1
                raise LLMUnavailable("no model replica is there to take the call") from error
            plain = original(error)
            raise (_ReplicaLost(plain) if _is_lost(error) else plain) from error
        finally:
            patience.end()
            if not ended:
                response.cancel()  # the replica's generator is closed, which aborts the call on the engine
        if not ended:
            raise _ReplicaLost(None)

    async def _recover(self, ticket: Ticket, failures: int, lost: _ReplicaLost) -> None:
        """Makes ready for another attempt. Raises LLMUnavailable when there have been enough."""
        replica = ticket.replica
        ticket.again(elsewhere=not isinstance(lost.error, CallDropped))
        if failures > RETRIES:
            self.tally.lost += 1
            raise LLMUnavailable(f"the call failed on {failures} model replicas, one after the other") from lost.error
        self.tally.retries += 1
        fields = {"session": ticket.session, "replica": replica, "attempt": failures + 1}
        logs.say(_log, logging.WARNING, "a call goes on elsewhere", reason=str(lost), **fields)
        await asyncio.sleep(PAUSE_S * 2 ** (failures - 1))

    @contextmanager
    def _ticket(self, session: str, call: Continuation) -> Iterator[Ticket]:
        """The call's ticket. While it is held, a hedge of the same prompt is sent to another replica."""
        key = (session, hash(call.prompt_ids))
        base = hedged_session(session)
        first = None if base is None else self._open.get((base, key[1]))
        ticket = Ticket(session, self._name, self.tally, first.replica if first else None)
        self._open[key] = ticket
        try:
            yield ticket
        except (asyncio.CancelledError, GeneratorExit):
            self.tally.cancelled += not call.finished
            raise
        finally:
            if self._open.get(key) is ticket:
                del self._open[key]


class _Patience:
    """Cancels a call that no replica can take, after a while."""

    def __init__(self, response: Any, ticket: Ticket, patience_s: float) -> None:
        self.is_over = False
        self._response, self._ticket, self._patience_s = response, ticket, patience_s
        self._timer = asyncio.get_running_loop().call_later(patience_s, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._ticket.replica is not None:
            return
        left = self._patience_s - self._ticket.unserved_s()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
            return
        self.is_over = True
        self._response.cancel()


# --- errors ----------------------------------------------------------------------------------------------------------


class _ReplicaLost(Exception):
    """The replica is gone, or its engine is: the call can go on elsewhere."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__(str(error))
        self.error = error


def _is_lost(error: Exception) -> bool:
    """Whether the replica failed, rather than refused the call."""
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        RayActorError,
        RaySystemError,
        RayTaskError,
        WorkerCrashedError,
    )

    gone = (RayActorError, NodeDiedError, ObjectLostError, WorkerCrashedError, RaySystemError)
    if isinstance(error, RayTaskError):
        return isinstance(error.cause, (CallDropped, EngineStopped, *gone))
    return isinstance(error, (CallDropped, EngineStopped, *gone))


async def unwrapped(response: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """What a streaming call yields, with the project's own errors as they were raised on the replica."""
    try:
        async for item in response:
            yield item
    except Exception as error:
        raise original(error) from error


def original(error: Exception) -> Exception:
    """The error of a call to another deployment, as the caller should see it."""
    from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, SprintError | TaskCancelledError):
            return cause
        return LLMError(f"{type(cause).__name__}: {' '.join(str(cause).split())}")
    if isinstance(error, RayActorError):
        return LLMUnavailable("a replica of the service died; it is being replaced")
    if isinstance(error, BackPressureError):
        return LLMUnavailable("too many calls are waiting for the model")
    if isinstance(error, DeploymentUnavailableError):
        return LLMUnavailable("the model could not be started")
    return error
