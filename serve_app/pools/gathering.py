"""When text that was sampled is sent on: a message to another process costs more than a small model's token.

Pure but for the clock: chunks in, fewer chunks out. It knows what a tag looks like, and no engine.
"""

from __future__ import annotations

import math
import time

from sprint.llm import Chunk

FLUSH_S = 0.05  # while chunks are gathered, text is sent on at least this often
UNWATCHED_CHUNK_TOKENS = 128  # where nobody reads along: the engine loop looks for repetition this often


class Gathering:
    """Gathers chunks into one until it is worth a message.

    chunk_tokens  a message has so many tokens, unless a tag may have closed in it or time is up
    watched       whether somebody reads along
    singly_chars  so much text is sent on as it comes before anything is gathered; goes down as it is taken
    """

    def __init__(self, chunk_tokens: int, watched: bool, singly_chars: int = 0) -> None:
        self.singly_chars = singly_chars
        self._chunk_tokens = chunk_tokens if watched else max(chunk_tokens, UNWATCHED_CHUNK_TOKENS)
        self._flush_s = FLUSH_S if watched else math.inf
        self._watched = watched
        self._chunk: Chunk | None = None
        self._taken_at = -math.inf  # so that the very first token is due at once

    def add(self, chunk: Chunk) -> None:
        """Holds a chunk, together with what is held already."""
        held = self._chunk
        if held is not None:
            ids, text = held.token_ids + chunk.token_ids, held.text + chunk.text
            chunk = Chunk(ids, text, chunk.finish_reason, chunk.cached_tokens)
        self._chunk = chunk

    @property
    def due(self) -> bool:
        """Whether what is held should be sent on."""
        chunk = self._chunk
        return chunk is not None and (
            chunk.finish_reason is not None
            or self.singly_chars > 0
            or len(chunk.token_ids) >= self._chunk_tokens
            or self._closes_a_tag(chunk.text)
            or self._taken_at == -math.inf
            or time.monotonic() - self._taken_at > self._flush_s
        )

    def _closes_a_tag(self, text: str) -> bool:
        """Whether a tag may end in the text. Where nobody reads along, an opening tag can wait for its closing one."""
        at = 0 if self._watched else text.rfind("</")
        return at >= 0 and ">" in text[at:]

    def take(self) -> Chunk:
        """What is held, as one chunk."""
        chunk, self._chunk, self._taken_at = self._chunk, None, time.monotonic()
        assert chunk is not None, "nothing was due"
        self.singly_chars -= len(chunk.text)
        return chunk
