"""The LLM seam over a `transformers` model in this process: for looking at weights while they are trained.

All calls are decoded together, a token each per pass; a call joins with its prompt and leaves when it ends. Nothing
here starts a thread or a process or touches the global random state. Passes run on the event loop itself, so it suits
small models or whoever waits for the answers anyway; a service uses vLLM. It knows no rounds or tags.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sprint.errors import ContextOverflow
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import IncrementalDecoder, Tokenizer
from train.kv_slots import Slots

_PREFILL_TOKENS = 8192  # prompt tokens, padding included, of one pass


class HFLLM:
    """Continues token ids with a causal language model of `transformers` as it is now, in evaluation mode or not.

    context_tokens  the context window
    at_once         most calls decoded together; the rest wait
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, context_tokens: int, at_once: int = 128) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        self.at_once = at_once
        self._slots = Slots()
        self._waiting: list[_Call] = []
        self._active: list[_Call] = []  # in the order of their slots
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Calls that are being answered or wait."""
        return len(self._active) + len(self._waiting)

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`. `cached_tokens` stays None: prompts are computed anew."""
        room = self.context_tokens - len(prompt_ids)
        if room < 1:
            raise ContextOverflow(f"a prompt of {len(prompt_ids)} tokens, expected < {self.context_tokens}")
        call = _Call(list(prompt_ids), sampling, min(sampling.max_tokens, room), self.tokenizer)
        self._waiting.append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drive())
        try:
            while True:
                chunk = await call.chunks.get()
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            call.is_over = True

    async def _drive(self) -> None:
        """Passes over the model until no call is left. What a pass raises, every call raises."""
        try:
            while self.running:
                self._leave()
                self._step()
                await asyncio.sleep(0)
        except Exception as error:
            for call in (*self._active, *self._waiting):
                call.chunks.put_nowait(error)
            self._active, self._waiting = [], []

    @torch.no_grad()
    def _step(self) -> None:
        joining = self._joining()
        if joining:
            first = len(self._active)
            self._active += joining
            self._prefill(joining, first)
        elif self._active:
            lengths = torch.tensor([len(call.ids) for call in self._active])
            last = torch.tensor([call.ids[-1] for call in self._active])
            self._take(self._active, self._logits(0, last[:, None], lengths[:, None] - 1)[:, 0])

    def _joining(self) -> list[_Call]:
        """The calls that wait and go into the next pass."""
        chosen: list[_Call] = []
        longest = 0
        while self._waiting and len(self._active) + len(chosen) < self.at_once:
            longest = max(longest, len(self._waiting[0].ids))
            if chosen and longest * (len(chosen) + 1) > _PREFILL_TOKENS:
                break
            chosen.append(self._waiting.pop(0))
        return chosen

    def _prefill(self, calls: Sequence[_Call], first: int) -> None:
        """One pass over whole prompts. What padding leaves in the cache is written over before anyone sees it."""
        longest = max(len(call.ids) for call in calls)
        ids = torch.tensor([call.ids + [0] * (longest - len(call.ids)) for call in calls])
        positions = torch.arange(longest).expand(len(calls), -1)
        last = torch.tensor([len(call.ids) - 1 for call in calls])
        self._take(calls, self._logits(first, ids, positions, last))

    def _logits(self, first: int, ids: Tensor, positions: Tensor, at: Tensor | None = None) -> Tensor:
        """Logits (batch, tokens, vocabulary), or (batch, vocabulary) at one place `at` of each row."""
        device = self.model.device
        ids, positions = ids.to(device), positions.to(device)
        mask = self._slots.at(first, positions, int(positions.max()) + 1)
        hidden = self.model.get_decoder()(
            input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=self._slots, use_cache=True
        ).last_hidden_state
        if at is not None:
            hidden = hidden[torch.arange(len(ids), device=device), at.to(device)]
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits.float()

    def _take(self, calls: Sequence[_Call], logits: Tensor) -> None:
        likeliest = logits.argmax(-1).tolist()
        for row, call in enumerate(calls):
            call.take(call.sample(logits[row]) if call.sampling.temperature > 0 else likeliest[row])

    def _leave(self) -> None:
        """Let go of calls that are over; the last slot's sequence takes the place of each."""
        self._waiting = [call for call in self._waiting if not call.is_over]
        for slot in reversed(range(len(self._active))):
            if not self._active[slot].is_over:
                continue
            last = self._active.pop()
            if slot < len(self._active):
                self._slots.move(len(self._active), slot, len(last.ids))
                self._active[slot] = last


@dataclass
class _Call:
    """One call: its ids so far, what of it was given out, and whether it is over."""

    ids: list[int]
    sampling: Sampling
    limit: int
    tokenizer: Tokenizer
    is_over: bool = False
    chunks: asyncio.Queue[Chunk | Exception] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self._decoder = IncrementalDecoder(self.tokenizer)
        self._generator = torch.Generator().manual_seed(self.sampling.seed or 0)
        self._held: list[int] = []  # sampled, not given out yet
        self._text = ""  # theirs
        self._tail = ""  # of the text so far: what a stop string may begin in
        self._count = 0
        self._longest_stop = max(map(len, self.sampling.stop), default=0)

    def sample(self, logits: Tensor) -> int:
        """One id at the call's temperature, from the likeliest that make up `top_p`."""
        shares = (logits.cpu() / self.sampling.temperature).softmax(-1)
        shares, order = shares.sort(descending=True)
        shares[1:][shares.cumsum(-1)[:-1] >= self.sampling.top_p] = 0
        return int(order[torch.multinomial(shares, 1, generator=self._generator)])

    def take(self, token_id: int) -> None:
        """Go on by one id, and give out a chunk when there is enough."""
        self.ids.append(token_id)
        self._held.append(token_id)
        self._count += 1
        finish = self._read(token_id)
        if finish is not None or len(self._held) >= self.sampling.chunk_tokens:
            self.chunks.put_nowait(Chunk(tuple(self._held), self._text, finish))
            self._held, self._text = [], ""
        self.is_over = self.is_over or finish is not None

    def _read(self, token_id: int) -> FinishReason | None:
        """Why the call ends with this id, if it does; its text is added up to the end of a stop string."""
        if token_id == self.tokenizer.eos_id:
            return FinishReason.EOS
        piece = self._decoder.feed([token_id])[0]
        seen = self._tail + piece
        ends = [seen.index(stop) + len(stop) for stop in self.sampling.stop if stop in seen]
        if ends:
            self._text += piece[: len(piece) - (len(seen) - min(ends))]
            return FinishReason.STOP
        self._text += piece
        self._tail = seen[-self._longest_stop :] if self._longest_stop else ""
        return FinishReason.LENGTH if self._count >= self.limit else None
