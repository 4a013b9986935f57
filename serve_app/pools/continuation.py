"""A call that can be taken up again: from the ids sampled so far, nothing is sampled twice and nothing is said twice.

Pure: chunks in, chunks out. It knows how a stop string is honoured that straddles the cut, and no engine.

A continued call is a fresh one to its engine: with a seed and a temperature its tokens are well-sampled, but they are
not the ones that an undisturbed call would have drawn; greedy calls continue as they would have. The text of a
character whose tokens stand on both sides of a cut may come out as U+FFFD; its ids are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sprint.llm import Chunk, FinishReason, Sampling


class Continuation:
    """One call over all its attempts. `finished`: its last chunk has been taken, and no more may be."""

    def __init__(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        self.finished = False
        self._prompt_ids = tuple(prompt_ids)
        self._sampling = sampling
        self._ids: list[int] = []
        self._keep = max([1, *map(len, sampling.stop)]) - 1  # characters that a stop string can begin in
        self._recent = ""  # the end of the text so far
        self._rests: tuple[str, ...] = ()  # what is missing of stop strings that the text before the cut begins
        self._since = ""  # the text since the cut, while it may complete one of those
        self._is_continued = False
        self._cached: int | None = None  # of the prompt itself: later attempts find more in the cache

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What the next attempt continues."""
        return self._prompt_ids + tuple(self._ids)

    @property
    def tokens_left(self) -> int:
        """Tokens that may still be sampled."""
        return self._sampling.max_tokens - len(self._ids)

    @property
    def singly_chars(self) -> int:
        """So much of the attempt's next text must come token by token: in it a stop string may end that began before.

        A chunk's text and ids are aligned at its ends only, so that is how the id that completes it is known.
        """
        return max(map(len, self._rests), default=0) - len(self._since)

    def attempt(self) -> Sampling:
        """How the next attempt is sampled. Call it once for each."""
        self._is_continued = bool(self._ids)
        self._rests = tuple({rest for stop in self._sampling.stop for rest in self._rests_of(stop)})
        self._since = ""
        return replace(self._sampling, max_tokens=self.tokens_left)

    def take(self, chunk: Chunk) -> Chunk:
        """What the caller gets of an attempt's chunk: the call ends with the first stop string, wherever it began.

        Of a chunk of several tokens that is wanted singly, all ids are kept, those past the stop string too.
        """
        if not self._is_continued and chunk.cached_tokens is not None:
            self._cached = chunk.cached_tokens
        if self._rests:
            chunk = self._stopped(chunk)
        self._ids += chunk.token_ids
        self._recent = (self._recent + chunk.text)[-self._keep :] if self._keep else ""
        self.finished = chunk.finish_reason is not None
        return replace(chunk, cached_tokens=self._cached)

    def end(self) -> Chunk:
        """The last chunk of a call that has no tokens left to sample."""
        self.finished = True
        return Chunk((), "", FinishReason.LENGTH, self._cached)

    def _stopped(self, chunk: Chunk) -> Chunk:
        """The chunk up to the end of a stop string that began before the cut: engines search their own text only."""
        before = len(self._since)
        self._since += chunk.text
        ends = [len(rest) for rest in self._rests if self._since.startswith(rest)]
        if ends:
            return replace(chunk, text=chunk.text[: min(ends) - before], finish_reason=FinishReason.STOP)
        self._rests = tuple(rest for rest in self._rests if rest.startswith(self._since))
        return chunk

    def _rests_of(self, stop: str) -> list[str]:
        """What is missing of a stop string, for each beginning of it that the text so far ends in."""
        return [stop[n:] for n in range(1, len(stop)) if self._recent.endswith(stop[:n])]


def singly(chunk: Chunk, decode: Callable[[Sequence[int]], str], chars: int) -> list[Chunk]:
    """`chunk` in pieces of one token, until `chars` characters are out; what is left of it is the last piece.

    Which text belongs to a token is seen by decoding, which can err by a character where characters are cut.
    """
    ids, pieces, at = chunk.token_ids, list[Chunk](), 0
    while at < chars and len(pieces) < len(ids) - 1:
        n = len(pieces) + 1
        end = max(at, min(len(chunk.text), len(decode(ids[:n]).rstrip("\ufffd"))))
        pieces.append(replace(chunk, token_ids=ids[n - 1 : n], text=chunk.text[at:end], finish_reason=None))
        at = end
    return [*pieces, replace(chunk, token_ids=ids[len(pieces) :], text=chunk.text[at:])]
