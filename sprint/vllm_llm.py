"""vLLM's words and this project's: how a call is asked of an engine, and what its outputs and errors mean.

And the LLM seam over an engine in this process's hands, for programs that own one and batches that run beside it. vLLM
is imported when it is used, never before. It knows token ids and sampling, and nothing of rounds, questions or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from typing import Any
from uuid import uuid4

from sprint.errors import ContextOverflow, InputError, LLMError, LLMUnavailable
from sprint.llm import Chunk, FinishReason, Sampling

SEEDS = 1 << 63  # vLLM takes -1 for no seed, and cannot send larger ones to its engine
SHUTDOWN_S = 1.0  # after that the engine's process is killed: it holds nothing worth saving

# The engine runs in a process of its own and inherits these from the process that makes it.
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # two spinning OpenMP threads on two busy cores are far slower than one
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no worker process beside the engine's own
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # engines must not all bind to the first core
}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
CPU_ENGINE = {"dtype": "float32", "enforce_eager": True, "block_size": 32}


class EngineStopped(LLMUnavailable):
    """The replica lives, its engine does not: the call can go on elsewhere."""


class CallDropped(LLMUnavailable):
    """The replica took its caller for dead. Who hears this lives, and may ask again."""


class EngineOwner:
    """Has a vLLM engine, `_engine`, and stops its process when it is told to, or goes itself."""

    _engine: Any

    def shutdown(self) -> None:
        """Stop the engine's process. Nothing may be asked afterwards."""
        engine = self.__dict__.pop("_engine", None)
        if engine is not None:
            engine.shutdown(timeout=SHUTDOWN_S)

    def __del__(self) -> None:
        self.shutdown()


class VLLM(EngineOwner):
    """Implements `sprint.llm.LLM`. `engine_args` are vLLM's AsyncEngineArgs, `model` and `max_model_len` among them.

    vLLM's front end is bound to the event loop of its first call, so one `VLLM` lives in one event loop.
    """

    def __init__(self, engine_args: Mapping[str, Any]) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_args))
        self._context_tokens = int(engine_args["max_model_len"])
        self._tokenizer = self._engine.get_tokenizer()

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`. `session` is not used: there is one engine."""
        if len(prompt_ids) >= self._context_tokens:
            raise ContextOverflow(overflow(len(prompt_ids), self._context_tokens))
        prompt = {"prompt_token_ids": list(prompt_ids)}
        outputs = self._engine.generate(prompt, vllm_params(sampling), uuid4().hex)
        async with aclosing(outputs):  # closing it aborts the call on the engine
            try:
                async for output in outputs:
                    yield chunk_of(output, self._tokenizer)
            except Exception as error:
                raise plain_error(error) from error


def overflow(num_tokens: int, context_tokens: int) -> str:
    """What is said of a prompt that leaves no room."""
    return (
        f"the prompt has {num_tokens} tokens, the context window holds {context_tokens}"
        " and must leave room for an answer"
    )


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


def chunk_of(output: Any, tokenizer: Any) -> Chunk:
    """One engine output as a chunk."""
    made = output.outputs[0]
    reason = _finish_reason(made.finish_reason, made.stop_reason) if output.finished else None
    text = made.text
    if reason is FinishReason.EOS:  # the engine spells the end-of-sequence token; it is no text
        text = text.removesuffix(tokenizer.decode(made.token_ids[-1:]))
    return Chunk(tuple(made.token_ids), text, reason, output.num_cached_tokens)


def _finish_reason(reason: str, stop: str | int | None) -> FinishReason:
    """Tells apart what vLLM calls `stop`: a stop string is named, an end-of-sequence id is None or a number."""
    if reason == "length":
        return FinishReason.LENGTH
    if reason == "stop":
        return FinishReason.STOP if isinstance(stop, str) else FinishReason.EOS
    if reason == "abort":
        raise CallDropped("the engine dropped the call")
    raise LLMError(f"the engine ended the call with {reason!r}")


def plain_error(error: Exception) -> Exception:
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
