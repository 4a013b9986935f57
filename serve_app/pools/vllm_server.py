"""One model replica: owns one vLLM engine and streams what it samples.

It knows token ids and sampling, and nothing of rounds, questions or HTTP. It is a plain class: `app` makes a Ray Serve
deployment of it. vLLM is imported when a replica is made, never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
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
from sprint.errors import ContextOverflow, InputError, LLMError, LLMUnavailable
from sprint.llm import Chunk, FinishReason, Sampling

SHUTDOWN_S = 1.0  # after that the engine's process is killed: it holds nothing worth saving
LEAST_CHUNK_TOKENS = 8  # a message to another process costs more than a small model's token; in process use 1
SEEDS = 1 << 63  # vLLM takes -1 for no seed, and cannot send larger ones to its engine

# The engine runs in a process of its own and inherits these from the replica.
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two spinning OpenMP threads on two busy cores are far slower than one
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no worker process beside the engine's own
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # engines must not all bind to the first core
}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
CPU_ENGINE = {"dtype": "float32", "enforce_eager": True, "block_size": 32}


class EngineFailed(LLMUnavailable):
    """The engine could not be started; the message says why."""


class EngineStopped(LLMUnavailable):
    """The replica lives, its engine does not: the call can go on elsewhere."""


class CallDropped(LLMUnavailable):
    """The replica took its caller for dead. Who hears this lives, and may ask again."""


class VLLMServer:
    """A replica. `engine_args` are vLLM's AsyncEngineArgs; `model` and `max_model_len` must be among them.

    `least_chunk_tokens`: no chunk is smaller, unless a tag may have closed in it or time is up.
    """

    def __init__(self, engine_args: Mapping[str, Any], least_chunk_tokens: int = LEAST_CHUNK_TOKENS) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._load = EngineLoad()
        loggers = [self._load.logger()]
        try:
            self._engine: Any = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_args), stat_loggers=loggers)
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
            raise ContextOverflow(
                f"the prompt has {len(prompt_ids)} tokens, the context window holds {self._context_tokens}"
                " and must leave room for an answer"
            )
        chunk_tokens = max(sampling.chunk_tokens, self._least_chunk_tokens)
        gathering = Gathering(chunk_tokens, sampling.watched, singly_chars)
        outputs = self._outputs(prompt_ids, sampling, extra_args, ticket.caller if ticket else "")
        async with aclosing(outputs):
            async for output in outputs:
                # the engine's front end joins tokens when it is late for one
                for chunk in singly(self._chunk(output), self._tokenizer.decode, gathering.singly_chars):
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
                    raise _plain(error) from error

    def _drop(self, request_id: str) -> None:
        """Ends a call on the engine; whoever still reads it hears CallDropped."""
        task = asyncio.ensure_future(self._engine.abort(request_id))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

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

    def shutdown(self) -> None:
        """Stop the engine's process. Nothing may be asked afterwards."""
        engine = self.__dict__.pop("_engine", None)
        if engine is not None:
            engine.shutdown(timeout=SHUTDOWN_S)

    def __del__(self) -> None:
        self.shutdown()

    @property
    def _by_priority(self) -> bool:
        return bool(self._engine.vllm_config.scheduler_config.policy == "priority")

    def _chunk(self, output: Any) -> Chunk:
        """One engine output as a chunk."""
        made = output.outputs[0]
        reason = _finish_reason(made.finish_reason, made.stop_reason) if output.finished else None
        text = made.text
        if reason is FinishReason.EOS:  # the engine spells the end-of-sequence token; it is no text
            text = text.removesuffix(self._tokenizer.decode(made.token_ids[-1:]))
        return Chunk(tuple(made.token_ids), text, reason, output.num_cached_tokens)


class VLLMReplica(VLLMServer):
    """The replica as a deployment, which logs as the others do."""

    def __init__(self, engine_args: Mapping[str, Any]) -> None:
        logs.setup(deployment="VLLMServer")
        super().__init__(engine_args)


def vllm_params(sampling: Sampling, extra_args: Mapping[str, Any] | None = None) -> Any:
    """`sampling` in vLLM's words. Raises InputError for values that vLLM does not take."""
    from vllm import SamplingParams
    from vllm.exceptions import VLLMClientError
    from vllm.sampling_params import RequestOutputKind

    try:
        return SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=None if sampling.seed is None else sampling.seed % SEEDS,
            stop=list(sampling.stop),
            include_stop_str_in_output=True,
            skip_special_tokens=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args=None if extra_args is None else dict(extra_args),
        )
    except (VLLMClientError, ValueError, TypeError) as error:
        raise _refused(error) from error


def _finish_reason(reason: str, stop: str | int | None) -> FinishReason:
    """Tells apart what vLLM calls `stop`: a stop string is named, an end-of-sequence id is None or a number."""
    if reason == "length":
        return FinishReason.LENGTH
    if reason == "stop":
        return FinishReason.STOP if isinstance(stop, str) else FinishReason.EOS
    if reason == "abort":
        raise CallDropped("the engine dropped the call")
    raise LLMError(f"the engine ended the call with {reason!r}")


def _plain(error: Exception) -> Exception:
    """An engine's error as one that any process can unpickle."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    if isinstance(error, LLMError):
        return error
    if isinstance(error, EngineDeadError):
        return EngineStopped("the engine stopped working; it is being replaced")
    if isinstance(error, VLLMClientError):
        return _refused(error)
    if isinstance(error, EngineGenerateError) and error.__cause__ is not None:
        error = RuntimeError(f"{type(error.__cause__).__name__}: {error.__cause__}")  # the wrapper itself says nothing
    return LLMError(f"the engine refused the call: {' '.join(str(error).split())}")


def _refused(error: Exception) -> InputError:
    """What vLLM says of a value that it does not take, less its notes in brackets. The field may be the first word."""
    message = " ".join(str(error.args[0] if error.args else error).split()).rstrip(".")
    first = message.partition(" ")[0]
    named = first if first in {field.name for field in fields(Sampling)} else None
    return InputError(message, field=getattr(error, "parameter", None) or named)


def _replica_name() -> str:
    """The replica's name among its like."""
    from ray import serve

    return str(serve.get_replica_context().replica_id.unique_id)
