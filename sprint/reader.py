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
        return self.feed_some([token_id], 0)[1]

    def feed_some(self, ids: Sequence[int], start: int) -> tuple[int, list[Text | Tag]]:
        """Takes at least one of the ids from `start` on, and no more than up to the end of the first tag.

        Gives how many it took, and the text and tags that they complete. Almost all text holds no tag, so most of a
        chunk is taken in one go and costs next to nothing, however long it is.
        """
        inside = bool(self._lexer.held)
        taken, text = (0, "") if inside else self._decoder.plain(ids, start, "<")
        if taken:
            self.ids += ids[start : start + taken]
            return taken, [Text(text)]
        return self._feed_tag(ids, start)

    def _feed_tag(self, ids: Sequence[int], start: int) -> tuple[int, list[Text | Tag]]:
        """Takes what may be one tag; id by id where ids have no text of their own."""
        known = _maybe_tag(self._decoder.known(ids, start))
        if known:
            self._last_piece = known[-1]
            taken, text = self._decoder.take(ids, start, known)
        else:
            (self._last_piece,) = self._decoder.feed([ids[start]])
            taken, text = 1, self._last_piece
        self.ids += ids[start : start + taken]
        pieces = self._lexer.feed(text)
        if any(isinstance(piece, Tag) for piece in pieces):
            self.overhang = _after_last_tag(pieces) + self._lexer.held
        return taken, pieces

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


def _maybe_tag(pieces: Sequence[str]) -> Sequence[str]:
    """The pieces up to the first that may end a tag, or before the next that may begin one."""
    for count, piece in enumerate(pieces):
        if count and "<" in piece:
            return pieces[:count]
        if ">" in piece:
            return pieces[: count + 1]
    return pieces


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
    while len(reader.ids) < len(plan_ids):
        _, pieces = reader.feed_some(plan_ids, len(reader.ids))
        closed = [p for p in pieces if isinstance(p, Tag) and p.kind is TagKind.PROMPT and p.closing]
        ends += [len(reader.ids)] * len(closed)
    return ends
