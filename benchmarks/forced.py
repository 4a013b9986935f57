"""A real vLLM engine that says what a benchmark tells it, and a record of every call made of it.

`ForcedServer` is the engine with a model of a given shape; `ForcedLLM` puts it behind the LLM seam for one answer, so
that our own loop runs on it unchanged. Nothing here knows how calls are scheduled.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.trajectories import Answer, Ids
from serve_app.pools.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMServer
from sprint.files import write_json
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import Tokenizer

FORCED_KEY = "forced_ids"
GREEDY = Sampling(max_tokens=1 << 30, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Qwen2 model. The rest follows in the proportions of the 7B one."""

    layers: int
    hidden: int
    vocab: int

    def config(self, context_tokens: int, eos_id: int | None) -> dict[str, Any]:
        return {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_size": self.hidden,
            "intermediate_size": -(-self.hidden * 37 // 7 // 32) * 32,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // self.head,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocab,
            "max_position_embeddings": context_tokens,
            "eos_token_id": eos_id,
            "tie_word_embeddings": False,
            "rope_theta": 1e6,
        }

    @property
    def head(self) -> int:
        return 128 if self.hidden >= 1024 else 32

    @property
    def kv_heads(self) -> int:
        return max(1, self.hidden // self.head // 7)

    def kv_bytes(self, tokens: int) -> int:
        """Of a float32 cache on CPU."""
        return tokens * self.layers * self.kv_heads * self.head * 2 * 4


@dataclass
class Call:
    """One call as it was made. Seconds on `time.perf_counter`'s clock.

    earlier   for each call made before this one, how many tokens it had sampled by then
    cache     calls with different names here share no prefix cache
    """

    part: str
    prompt_ids: Ids
    said: Ids
    submitted_s: float
    earlier: tuple[int, ...]
    cache: str = ""
    first_s: float = 0.0
    end_s: float = 0.0
    sampled: int = 0
    cached: int = 0

    def took(self, token_ids: Sequence[int], cached: int | None) -> None:
        """More tokens came out of it. They must be those it was told to say."""
        now, count = time.perf_counter(), len(token_ids)
        assert self.said[self.sampled : self.sampled + count] == tuple(token_ids), "the engine said something else"
        self.first_s = self.first_s or now
        self.end_s = now
        self.sampled += count
        self.cached = cached or 0


@dataclass
class Log:
    """The calls of one rollout, in the order in which they were made."""

    calls: list[Call] = field(default_factory=list)

    def open(self, part: str, prompt_ids: Sequence[int], said: Ids, cache: str = "") -> Call:
        earlier = tuple(call.sampled for call in self.calls)
        call = Call(part, tuple(prompt_ids), said, time.perf_counter(), earlier, cache)
        self.calls.append(call)
        return call


class ForcedServer(VLLMServer):
    """An engine in process, with random weights, that samples the ids it is told."""

    def __init__(
        self, folder: Path, shape: Shape, context_tokens: int, eos_id: int | None, args: dict[str, Any]
    ) -> None:
        write_json(folder / "config.json", shape.config(context_tokens, eos_id))
        fixed = {
            "model": str(folder),
            "max_model_len": context_tokens,
            "load_format": "dummy",
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "logits_processors": ["benchmarks.forcing:Forcing"],
        }
        super().__init__(fixed | args, least_chunk_tokens=1)

    @property
    def engine(self) -> Any:
        """vLLM's AsyncLLM itself."""
        return self._engine

    async def force(self, call: Call, sampling: Sampling) -> AsyncGenerator[Chunk, None]:
        """Make `call`. Lengths are given, so the engine looks for no stop strings."""
        wanted = call.said[: sampling.max_tokens]
        asked = replace(sampling, max_tokens=len(wanted), stop=())
        extra = {FORCED_KEY: list(wanted)}
        async with aclosing(self.generate(call.prompt_ids, asked, extra)) as chunks:
            async for chunk in chunks:
                call.took(chunk.token_ids, chunk.cached_tokens)
                whole = chunk.finish_reason and len(wanted) == len(call.said)
                yield replace(chunk, finish_reason=FinishReason.STOP) if whole else chunk

    async def forget(self) -> None:
        """Empty the prefix cache."""
        assert await self._engine.reset_prefix_cache(), "a call is still running"


def engine_args(shape: Shape, context_tokens: int, block_tokens: int, gpu: bool) -> dict[str, Any]:
    """vLLM's arguments. Sets the environment that the engine's process inherits, so it comes before the engine."""
    for name, value in (ENVIRONMENT if gpu else ENVIRONMENT | CPU_ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # the forcing processor is written for the first one
    if gpu:
        return {"dtype": "bfloat16", "block_size": block_tokens, "max_num_seqs": 64}
    cache = max(64 << 20, shape.kv_bytes(6 * context_tokens))
    return CPU_ENGINE | {"block_size": block_tokens, "max_num_seqs": 64, "kv_cache_memory_bytes": cache}


# --- behind the seam -------------------------------------------------------------------------------------------------

_TAIL_TOKENS = 24  # the end of a context says whose turn it is
_EXECUTION = re.compile(r"<execution_(\d+)\.(\d+)>\s*\Z")
_JOINED = re.compile(r"</Execution_(\d+)>\s*\Z")


class ForcedLLM:
    """Implements `sprint.llm.LLM` for one answer: whoever is asked says what stands in it.

    `sequential`: the answer in one breath instead of rounds.
    """

    def __init__(self, server: ForcedServer, tokenizer: Tokenizer, answer: Answer, sequential: bool = False) -> None:
        self.log = Log()
        self._server = server
        self._tokenizer = tokenizer
        self._answer = answer
        self._sequential = sequential

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`."""
        part, said = self._continuation(prompt_ids)
        async with aclosing(self._server.force(self.log.open(part, prompt_ids, said), sampling)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _continuation(self, prompt_ids: Sequence[int]) -> tuple[str, Ids]:
        if self._sequential:
            return "sequential", self._answer.sequential
        tail = self._tokenizer.decode(prompt_ids[-_TAIL_TOKENS:])
        if match := _EXECUTION.search(tail):
            round, number = int(match[1]), int(match[2])
            return "execution", self._answer.rounds[round - 1].executions[self._asked(prompt_ids, tail, round, number)]
        joined = _JOINED.search(tail)
        done = int(joined[1]) if joined else 0
        if done == len(self._answer.rounds):
            return "final", self._answer.final
        return "plan", self._answer.rounds[done].plan

    def _asked(self, prompt_ids: Sequence[int], tail: str, round: int, number: int) -> int:
        """The index of the execution asked for. In the whole-plan view it is always called the first."""
        if f"</Plan_{round}>" not in tail or len(self._answer.rounds[round - 1].executions) == 1:
            return number - 1
        plan = self._tokenizer.decode(prompt_ids).rpartition(f"<Plan_{round}>")[2]
        return len(self._answer.rounds[round - 1].executions) - plan.count(f"</prompt_{round}.")
