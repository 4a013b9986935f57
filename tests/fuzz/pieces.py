"""A tokenizer for fuzzing: few ids for much text, cut and joined where real tokenizers do it."""

from __future__ import annotations

import re
from collections.abc import Sequence


class PieceTokenizer:
    """One id per word, tag part or sign. A closing bracket may be joined with the newlines after it.

    Ids are given out as pieces are met, so they mean the same within one process only.
    """

    eos_id = 0
    _SPLIT = re.compile(r"</?[A-Za-z]*|_\d+|\.\d|>\n*|[A-Za-z]+|\s|.", re.DOTALL)

    def __init__(self) -> None:
        self._ids: dict[str, int] = {"": self.eos_id}
        self._texts: list[str] = [""]

    def encode(self, text: str) -> list[int]:
        return [self._id(piece) for piece in self._SPLIT.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join([self._texts[token_id] for token_id in ids])

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        return [None] * len(ids)

    def chat(self, content: str) -> str:
        return content + "\n"

    def _id(self, piece: str) -> int:
        found = self._ids.get(piece)
        if found is None:
            found = self._ids[piece] = len(self._texts)
            self._texts.append(piece)
        return found
