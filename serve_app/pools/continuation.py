"""A call that can be taken up again: from the ids sampled so far, nothing is sampled twice and nothing is said twice.

Pure: chunks in, chunks out. It knows how a stop string is honoured that straddles the cut, and no engine.

A continued call is a fresh one to its engine: with a seed and a temperature its tokens are well-sampled, but they are
not the ones that an undisturbed call would have drawn; greedy calls continue as they would have. The text of a
character whose tokens stand on both sides of a cut may come out as U+FFFD; its ids are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sprint.llm import Chunk, FinishReason, Sampling


class Continuation:
    """One call over all its attempts. `finished`: its last chunk has been taken."""

    def __init__(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        self.finished = False
        self._prompt_ids = tuple(prompt_ids)
        self._sampling = sampling
        self._ids: list[int] = []
        self._longest_stop = max(map(len, sampling.stop), default=0)
        self._recent = ""  # the end of the text so far, as long as the longest stop string
        self._rests: tuple[str, ...] = ()
        self._cached: tuple[int | None] | None = None  # of the first chunk of all; None: there was none yet

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What the next attempt continues."""
        return self._prompt_ids + tuple(self._ids)

    @property
    def tokens_left(self) -> int:
        """Tokens that may still be sampled."""
        return self._sampling.max_tokens - len(self._ids)

    def attempt(self) -> Sampling:
        """How the next attempt is sampled. Call it once for each.

        An engine looks for stop strings in new text only, so where the text so far ends in the beginning of one, the
        rest of it is a stop string too. Whether it really completed one, `take` sees.
        """
        if not self._ids:
            return self._sampling
        self._rests = tuple(dict.fromkeys(rest for stop in self._sampling.stop for rest in self._rests_of(stop)))
        return replace(self._sampling, max_tokens=self.tokens_left, stop=self._sampling.stop + self._rests)

    def take(self, chunk: Chunk) -> Chunk:
        """What the caller gets of an attempt's chunk."""
        self._cached = self._cached or (chunk.cached_tokens,)
        self._ids += chunk.token_ids
        self._recent = (self._recent + chunk.text)[-self._longest_stop :] if self._longest_stop else ""
        reason = chunk.finish_reason
        if reason is FinishReason.STOP and self._rests and not self._recent.endswith(self._sampling.stop):
            reason = None if self.tokens_left > 0 else FinishReason.LENGTH  # the rest of a stop string, alone
        self.finished = reason is not None
        return replace(chunk, finish_reason=reason, cached_tokens=self._cached[0])

    def end(self) -> Chunk:
        """The last chunk of a call that has no tokens left to sample."""
        self.finished = True
        return Chunk((), "", FinishReason.LENGTH, self._cached[0] if self._cached else None)

    def _rests_of(self, stop: str) -> list[str]:
        """What is missing of a stop string, for each beginning of it that the text so far ends in."""
        return [stop[n:] for n in range(1, len(stop)) if self._recent.endswith(stop[:n])]
