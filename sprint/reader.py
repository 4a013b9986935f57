"""Reads sampled token ids as text and tags while they arrive, and knows at which token each tag ended.

Used by the engine on what a model samples and by `render` on what it shall sample, so that both agree on where an
executor's view of a plan ends. Each token is looked at a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Sequence

from sprint.tags import Tag, TagKind, TagLexer, Text
from sprint.tokenizer import IncrementalDecoder, Tokenizer


class TokenReader:
    """Feed it ids one by one; it gives the pieces each id completes.

    ids       everything fed, in order
    overhang  text that the last id carries beyond the last tag it completed ("" when it ends there)
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = IncrementalDecoder(tokenizer)
        self._lexer = TagLexer()
        self._last_piece = ""
        self.ids: list[int] = []
        self.overhang = ""

    def feed(self, token_id: int) -> list[Text | Tag]:
        """The text and tags that `token_id` completes."""
        self.ids.append(token_id)
        (self._last_piece,) = self._decoder.feed([token_id])
        pieces = self._lexer.feed(self._last_piece)
        if any(isinstance(piece, Tag) for piece in pieces):
            self.overhang = _after_last_tag(pieces) + self._lexer.held
        return pieces

    def feed_plain(self, ids: Sequence[int]) -> str | None:
        """Takes several ids at once if they hold no tag, nor a piece of one; else takes nothing and gives None.

        Almost all text holds no tag, so a chunk of it costs one decoding and one search, however long it is.
        """
        text = None if self._lexer.held else self._decoder.peek(ids)
        if text is None or "<" in text:
            return None
        self._decoder.take(ids)
        self.ids += ids
        return text

    @property
    def held(self) -> str:
        """Text held back because it might become a tag."""
        return self._lexer.held

    def close(self) -> list[Text | Tag]:
        """The text that was held back because it might have become a tag."""
        return self._lexer.close()

    def ids_up_to_tag(self) -> list[int]:
        """The ids fed, less the text that the last one carries beyond its tag.

        Only that one id is ever encoded anew, and only when the tokenizer joined the tag's end with what follows.
        """
        if not self.overhang:
            return list(self.ids)
        kept = self._last_piece.removesuffix(self.overhang)
        return self.ids[:-1] + self._tokenizer.encode(kept)


def _after_last_tag(pieces: Sequence[Text | Tag]) -> str:
    texts: list[str] = []
    for piece in reversed(pieces):
        if isinstance(piece, Tag):
            break
        texts.append(piece.text)
    return "".join(reversed(texts))


def prompt_ends(plan_ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """For each prompt of a plan, how many of the plan's ids it takes to close it."""
    reader = TokenReader(tokenizer)
    ends: list[int] = []
    for count, token_id in enumerate(plan_ids, 1):
        closed = [p for p in reader.feed(token_id) if isinstance(p, Tag) and p.kind is TagKind.PROMPT and p.closing]
        ends += [count] * len(closed)
    return ends
