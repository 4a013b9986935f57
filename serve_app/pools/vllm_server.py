"""One model replica: owns one vLLM engine and streams what it samples.

It knows token ids and sampling, and nothing of rounds, questions or HTTP. It is a plain class: `app` makes a Ray Serve
deployment of it. vLLM is imported when a replica is made, never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from serve_app.observe import logs
from serve_app.pools.affinity import Ticket
from serve_app.pools.callers import Callers
from serve_app.pools.continuation import singly
from serve_app.pools.engine_load import EngineLoad
from serve_app.pools.gathering import Gathering
from serve_app.pools.root_cause import cause_of
from serve_app.pools.stats import ReplicaLoad
from serve_app.pools.versions import VERSION
from sprint.errors import ContextOverflow, LLMUnavailable
from sprint.llm import Chunk, Sampling
from sprint.vllm_llm import (
    CPU_ENGINE,
    CPU_ENVIRONMENT,
    ENVIRONMENT,
    CallDropped,
    EngineOwner,
    EngineStopped,
    chunk_of,
    overflow,
    plain_error,
    vllm_params,
)

__all__ = [
    "CPU_ENGINE",
    "CPU_ENVIRONMENT",
    "ENVIRONMENT",
    "CallDropped",
    "EngineFailed",
    "EngineStopped",
    "VLLMReplica",
    "VLLMServer",
    "vllm_params",
]

LEAST_CHUNK_TOKENS = 8  # a message to another process costs more than a small model's token; in process use 1


class EngineFailed(LLMUnavailable):
    """The engine could not be started; the message says why."""


class VLLMServer(EngineOwner):
    """A replica. `engine_args` are vLLM's AsyncEngineArgs; `model` and `max_model_len` must be among them.

    `least_chunk_tokens`: no chunk is smaller, unless a tag may have closed in it or time is up.
    """

    def __init__(self, engine_args: Mapping[str, Any], least_chunk_tokens: int = LEAST_CHUNK_TOKENS) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._load = EngineLoad()
        loggers = [self._load.logger()]
        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_args), stat_loggers=loggers)
        except Exception as error:  # vLLM's are of any kind; whoever waits for the engine wants a sentence
            raise EngineFailed(f"the engine could not be started: {cause_of(error)}") from error
        self._context_tokens = int(engine_args["max_model_len"])
        self._tokenizer = self._engine.get_tokenizer()
        self._least_chunk_tokens = least_chunk_tokens
        self._callers = Callers()
        self._dropping: set[asyncio.Future[None]] = set()

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        extra_args: Mapping[str, Any] | None = None,
        ticket: Ticket | None = None,
        singly_chars: int = 0,
    ) -> AsyncGenerator[Chunk, None]:
        """Continue `prompt_ids`: the LLM seam's contract. Leaving the generator early aborts the call on the engine.

        Tokens are gathered into chunks of `sampling.chunk_tokens`, and of `least_chunk_tokens` at least; a chunk goes
        out early when a tag may just have closed, and when nothing went out for a moment. Where nobody reads along,
        only the first token and what may hold a closing tag are sent before there are many: a message costs more
        than a token. The first `singly_chars` characters go out token by token. `extra_args` go to the engine's custom
        logits processors. `ticket` is for the router; it also says who calls.

        Raises InputError for a value that cannot be sampled with, and what `LLM.stream` raises.
        """
        if len(prompt_ids) >= self._context_tokens:
            raise ContextOverflow(overflow(len(prompt_ids), self._context_tokens))
        chunk_tokens = max(sampling.chunk_tokens, self._least_chunk_tokens)
        gathering = Gathering(chunk_tokens, sampling.watched, singly_chars)
        outputs = self._outputs(prompt_ids, sampling, extra_args, ticket.caller if ticket else "")
        async with aclosing(outputs):
            async for output in outputs:
                # the engine's front end joins tokens when it is late for one
                for chunk in singly(chunk_of(output, self._tokenizer), self._tokenizer.decode, gathering.singly_chars):
                    gathering.add(chunk)
                    if gathering.due:
                        yield gathering.take()

    async def _outputs(
        self, prompt_ids: Sequence[int], sampling: Sampling, extra_args: Mapping[str, Any] | None, caller: str
    ) -> AsyncGenerator[Any, None]:
        """The engine's own outputs. The call ends on the engine when this is closed, or when the caller dies."""
        request_id = uuid4().hex
        outputs = self._engine.generate(
            {"prompt_token_ids": list(prompt_ids)},
            vllm_params(sampling, extra_args),
            request_id,
            priority=sampling.priority if self._by_priority else 0,
        )
        with self._callers.working_for(caller, lambda: self._drop(request_id)):
            async with aclosing(outputs):  # closing it aborts the call on the engine
                try:
                    async for output in outputs:
                        yield output
                except Exception as error:
                    raise plain_error(error) from error

    def _drop(self, request_id: str) -> None:
        """Ends a call on the engine; whoever still reads it hears CallDropped."""
        task = asyncio.ensure_future(self._engine.abort(request_id))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def hold(self, ticket: Ticket) -> AsyncGenerator[bool, None]:
        """Says at once that the replica stays, and ends when the caller does: until then it is not idle.

        Raises what the engine died of.
        """
        await self.check_health()
        yield True
        ended = asyncio.Event()
        if ticket.caller:
            with self._callers.working_for(ticket.caller, ended.set):
                await ended.wait()

    async def check_health(self) -> None:
        """Called by Ray Serve; raising replaces the replica."""
        await self._engine.check_health()

    async def load(self) -> ReplicaLoad:
        """What the engine is doing. An answer shows that the replica lives; a dead engine raises."""
        await self.check_health()
        idle = not await self.num_unfinished()  # the numbers are those of the last step, and an idle engine takes none
        running, waiting = (0, 0) if idle else (self._load.running, self._load.waiting)
        return ReplicaLoad(_replica_name(), running, waiting, 0.0 if idle else self._load.kv_cache_use)

    async def num_unfinished(self) -> int:
        """Calls the engine is working on or holds in its queue."""
        unfinished: int = self._engine.get_num_unfinished_requests()
        return unfinished

    @property
    def _by_priority(self) -> bool:
        return bool(self._engine.vllm_config.scheduler_config.policy == "priority")


class VLLMReplica(VLLMServer):
    """The replica as a deployment, which logs as the others do."""

    def __init__(self, engine_args: Mapping[str, Any], version: str = "") -> None:
        logs.setup(deployment="VLLMServer")
        super().__init__(engine_args)
        self._version = version

    def record_replica_metadata(self) -> dict[str, str]:
        """Called by Ray Serve once; routers are told."""
        return {VERSION: self._version}


def _replica_name() -> str:
    """The replica's name among its like."""
    from ray import serve

    return str(serve.get_replica_context().replica_id.unique_id)
