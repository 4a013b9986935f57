"""A scripted model, shipped with the product: it answers from a function of the prompt's text.

For unit tests and for trying the protocol without weights. It honours the whole contract of the LLM seam (stop strings,
limits, cancellation, a prefix cache in blocks); `calls` records what it was asked, `running` and `most_running`
how many calls it is and was answering at once. It knows no rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from sprint.errors import ContextOverflow
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import IncrementalDecoder, Tokenizer

Script = Callable[[str], str]
"""From the prompt's text to what the model says to it; it may raise an LLMError instead."""


@dataclass
class Call:
    """One call as it was made, and how it went."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling
    session: str
    sampled_tokens: int = 0
    finished: bool = False


class ScriptedLLM:
    """Says what `script` says.

    chunk_tokens    ids per chunk
    context_tokens  the context window
    block_tokens    granularity of the prefix cache
    token_s         seconds per sampled token; 0 still yields to other tasks at every chunk
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        script: Script,
        *,
        chunk_tokens: int = 1,
        context_tokens: int = 1 << 20,
        block_tokens: int = 16,
        token_s: float = 0.0,
    ) -> None:
        self.tokenizer = tokenizer
        self.script = script
        self.chunk_tokens = chunk_tokens
        self.context_tokens = context_tokens
        self.block_tokens = block_tokens
        self.token_s = token_s
        self.calls: list[Call] = []
        self.running = self.most_running = 0
        self._cache: set[int] = set()

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`."""
        call = Call(tuple(prompt_ids), sampling, session)
        self.calls.append(call)
        room = self.context_tokens - len(call.prompt_ids)
        if room < 1:
            raise ContextOverflow(f"a prompt of {len(call.prompt_ids)} tokens, expected < {self.context_tokens}")
        blocks = _Blocks(self.block_tokens)
        hits = [key in self._cache for key in blocks.extend(call.prompt_ids[:-1])]  # the last token is always computed
        cached = self.block_tokens * (hits.index(False) if False in hits else len(hits))
        self._cache.update(blocks.keys + blocks.extend(call.prompt_ids[-1:]))
        said = self._say(call, min(sampling.max_tokens, room))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            for start in range(0, len(said.ids), self.chunk_tokens):
                await asyncio.sleep(self.token_s * self.chunk_tokens)
                end = min(start + self.chunk_tokens, len(said.ids))
                call.sampled_tokens = end
                self._cache.update(blocks.extend(said.ids[start:end]))
                last = call.finished = end == len(said.ids)
                text = "".join(said.pieces[start:end])
                yield Chunk(tuple(said.ids[start:end]), text, said.finish if last else None, cached)
        finally:
            self.running -= 1

    def _say(self, call: Call, max_tokens: int) -> _Said:
        text = self.script(self.tokenizer.decode(call.prompt_ids))
        eos = [] if self.tokenizer.eos_id is None else [self.tokenizer.eos_id]
        ids = self.tokenizer.encode(text) + eos
        pieces = IncrementalDecoder(self.tokenizer).feed(ids)
        if eos:
            pieces[-1] = ""
        return _cut(ids, pieces, call.sampling.stop, max_tokens)


class _Blocks:
    """Keys of the full blocks of a growing sequence; equal keys mean equal sequences up to the block's end."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._open: list[int] = []
        self.keys: list[int] = []

    def extend(self, ids: Sequence[int]) -> list[int]:
        """The keys of the blocks that `ids` fill."""
        before = len(self.keys)
        for token_id in ids:
            self._open.append(token_id)
            if len(self._open) == self._block_tokens:
                self.keys.append(hash((self.keys[-1] if self.keys else 0, tuple(self._open))))
                self._open = []
        return self.keys[before:]


@dataclass(frozen=True, slots=True)
class _Said:
    ids: list[int]
    pieces: list[str]
    finish: FinishReason


def _cut(ids: list[int], pieces: list[str], stop: tuple[str, ...], max_tokens: int) -> _Said:
    """What is really sampled: up to the first stop string, the limit or the end."""
    text = ""
    for count, piece in enumerate(pieces[:max_tokens], 1):
        text += piece
        ends = [text.index(s) + len(s) for s in stop if s in text]
        if ends:
            extra = len(text) - min(ends)
            return _Said(ids[:count], [*pieces[: count - 1], piece[: len(piece) - extra]], FinishReason.STOP)
    finish = FinishReason.EOS if len(ids) <= max_tokens else FinishReason.LENGTH
    return _Said(ids[:max_tokens], pieces[:max_tokens], finish)
