"""Tokenizers: text to ids and back, with nothing added and nothing lost.

It does not know prompts or tags. Heavy libraries are imported by the loaders that need them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from sprint.errors import InputError

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_LONGEST_CHARACTER = 8  # tokens that one incomplete character may span before it is given up as broken


class Tokenizer(Protocol):
    """What the core needs of a tokenizer."""

    @property
    def eos_id(self) -> int | None:
        """The id that ends a sequence, if there is one."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without special tokens added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; an incomplete character comes out as U+FFFD."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """The text of each id wherever it stands; None where that depends on the ids around it."""
        ...

    def chat(self, content: str) -> str:
        """`content` as one user turn, up to where the assistant begins to write."""
        ...


class ByteTokenizer:
    """One id per UTF-8 byte, and one to end a sequence. For tests and for the scripted model."""

    eos_id = 256
    vocab_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        return [chr(token_id) if token_id < 128 else None for token_id in ids]

    def chat(self, content: str) -> str:
        return content + "\n"


class HFTokenizer:
    """A `transformers` tokenizer loaded from a folder or a hub name."""

    def __init__(self, source: str | Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.hf: Any = AutoTokenizer.from_pretrained(str(source))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"no tokenizer could be loaded from {source}: {str(error).splitlines()[0]}") from error
        # The engine decodes every token as it comes, so the wrapper's own work would be most of the planner's.
        self._backend: Any = getattr(self.hf, "backend_tokenizer", None)
        if self._backend is None:
            raise InputError(f"the tokenizer of {source} has no fast implementation, expected a tokenizer.json")
        self._pieces: dict[int, str | None] = {}
        # This decoder writes the bytes of one id after those of another; others look around, at spaces mostly.
        self._by_bytes = type(self._backend.decoder).__name__ == "ByteLevel"

    @property
    def eos_id(self) -> int | None:
        eos: int | None = self.hf.eos_token_id
        return eos

    @property
    def vocab_size(self) -> int:
        return len(self.hf)

    def encode(self, text: str) -> list[int]:
        # Unlike `encode` it lets other threads run meanwhile, and looks for no offsets: half the time on long texts.
        ids: list[int] = self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        pieces = self.pieces(ids)
        if None in pieces:
            return self._decode(ids)
        return "".join(cast(list[str], pieces))

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        if not self._by_bytes:
            return [None] * len(ids)
        known = self._pieces
        try:
            return [known[token_id] for token_id in ids]
        except KeyError:
            for token_id in ids:
                known[token_id] = _whole(self._decode([token_id]))
            return [known[token_id] for token_id in ids]

    def chat(self, content: str) -> str:
        if not self.hf.chat_template:
            return content + "\n"
        turn = [{"role": "user", "content": content}]
        text: str = self.hf.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return text


class TiktokenTokenizer:
    """A `.tiktoken` rank file with the Qwen2 split pattern: exact token counts without a model folder."""

    eos_id = None

    def __init__(self, path: str | Path) -> None:
        import tiktoken

        try:
            pairs = (line.split() for line in Path(path).read_bytes().splitlines() if line)
            ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not a readable .tiktoken rank file: {error}") from error
        self._encoding = tiktoken.Encoding(
            name=Path(path).stem, pat_str=QWEN2_SPLIT, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode_ordinary(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._encoding.decode(list(ids))
        return text

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        return [_whole(self.decode([token_id])) for token_id in ids]

    def chat(self, content: str) -> str:
        return content + "\n"


def _whole(text: str) -> str | None:
    """The text, unless it holds a part of a character."""
    return None if "\ufffd" in text else text


def load_tokenizer(source: str | Path) -> Tokenizer:
    """The tokenizer of a model folder, a hub name, a `.tiktoken` file, or the word `bytes`."""
    if str(source) == "bytes":
        return ByteTokenizer()
    if str(source).endswith(".tiktoken"):
        return TiktokenTokenizer(source)
    return HFTokenizer(source)


class IncrementalDecoder:
    """Turns a growing list of ids into text, one piece per id, looking at each id a bounded number of times.

    A piece is empty while a character is incomplete; the id that completes it carries the whole character. The pieces
    joined are what `decode` gives for all ids at once.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # ids already given out, kept because some decoders look one back
        self._pending: list[int] = []

    def feed(self, ids: Sequence[int]) -> list[str]:
        """The piece of text that each of `ids` adds."""
        return [self._feed_one(token_id) for token_id in ids]

    def plain(self, ids: Sequence[int], start: int, mark: str | None = None) -> tuple[int, str]:
        """Takes ids from `start` on for as long as their text is known and holds no `mark`.

        Gives how many it took, and their text. What it does not take is to be fed one by one.
        """
        pieces = self.known(ids, start)
        if not pieces and not self._pending:
            return self._plain_by_halves(ids, start, mark)
        return self.take(ids, start, _until(pieces, mark))

    def known(self, ids: Sequence[int], start: int) -> list[str]:
        """The text of each id from `start` on, up to the first whose text depends on others. Nothing is taken."""
        if self._pending:
            return []
        pieces = self._tokenizer.pieces(ids[start:] if start else ids)
        return cast(list[str], pieces[: pieces.index(None)] if None in pieces else pieces)

    def take(self, ids: Sequence[int], start: int, pieces: Sequence[str]) -> tuple[int, str]:
        """Takes the ids from `start` on whose pieces these are; gives how many, and their text."""
        if pieces:
            self._context = [ids[start + len(pieces) - 1]]
        return len(pieces), "".join(pieces)

    def _plain_by_halves(self, ids: Sequence[int], start: int, mark: str | None) -> tuple[int, str]:
        """The same where ids have no text of their own: all of them, or half, or a quarter…, down to two."""
        before = self._tokenizer.decode(self._context) if self._context else ""
        count = len(ids) - start
        while count > 1:
            taken = list(ids[start : start + count])
            text = self._tokenizer.decode(self._context + taken)[len(before) :]
            if not text.endswith("\ufffd") and not (mark and mark in text):
                self._context = taken[-_LONGEST_CHARACTER:]
                return count, text
            count //= 2
        return 0, ""

    def _feed_one(self, token_id: int) -> str:
        piece = None if self._pending else self._tokenizer.pieces([token_id])[0]
        if piece is not None:
            self._context = [token_id]
            return piece
        self._pending.append(token_id)
        before = self._tokenizer.decode(self._context) if self._context else ""
        after = self._tokenizer.decode(self._context + self._pending)
        if after.endswith("\ufffd") and len(self._pending) < _LONGEST_CHARACTER:
            return ""
        self._context, self._pending = self._pending[-_LONGEST_CHARACTER:], []
        return after[len(before) :]


def _until(pieces: list[str], mark: str | None) -> list[str]:
    """The pieces before the first that holds `mark`."""
    if mark is None or mark not in "".join(pieces):
        return pieces
    return pieces[: next(index for index, piece in enumerate(pieces) if mark in piece)]
