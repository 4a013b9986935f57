"""Random trajectories, texts and chunkings, for laws over them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import strategies as st

from sprint import tags
from sprint.types import Execution, Round, Trajectory

_WORDS = st.sampled_from(
    ["let", "us", "see", "7+5=12", "<", "</", "<Plan", "<prompt_1", "a<b", "é", "🙂", "\n", "-----"]
)
prose = st.lists(_WORDS, max_size=8).map(" ".join).filter(lambda text: not tags.contains_tag(text))


@st.composite
def rounds(draw: st.DrawFn, number: int) -> Round:
    """A round with some prompts among its prose."""
    instructions = draw(st.lists(st.sampled_from(["work out A", "check 12", "é?"]), max_size=4))
    parts = [draw(prose)]
    for k, instruction in enumerate(instructions, 1):
        parts += [tags.prompt(number, k, instruction), draw(prose)]
    executions = tuple(Execution(draw(prose)) for _ in instructions)
    return Round("\n".join(parts), executions)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    """Up to four rounds and a final answer."""
    count = draw(st.integers(0, 4))
    return Trajectory(tuple(draw(rounds(number)) for number in range(1, count + 1)), draw(prose))


@st.composite
def chunked(draw: st.DrawFn, text: str) -> list[str]:
    """`text`, cut at random places."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def merged(pieces: list[tags.Text | tags.Tag]) -> list[tags.Text | tags.Tag]:
    """Neighbouring texts as one."""
    out: list[tags.Text | tags.Tag] = []
    for piece in pieces:
        if isinstance(piece, tags.Text) and out and isinstance(out[-1], tags.Text):
            out[-1] = tags.Text(out[-1].text + piece.text)
        else:
            out.append(piece)
    return out


class JoiningTokenizer:
    """A tokenizer that joins a closing bracket with what follows, as real ones do: the seam to test.

    Known words and pieces have ids of their own, everything else is bytes.
    """

    eos_id = 0
    _PIECES = (">\n\n", ">\n", "\n\n<", "\n<", "</", "<", "Plan_", "prompt_", "execution_", "Execution_", " </")
    _SPLIT = re.compile("|".join(re.escape(piece) for piece in _PIECES) + "|.", re.DOTALL)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self._SPLIT.findall(text):
            known = self._PIECES.index(piece) + 1 if piece in self._PIECES else None
            ids += [known] if known else [100 + byte for byte in piece.encode()]
        return ids

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        raw = b"".join(self._PIECES[i - 1].encode() if 0 < i < 100 else bytes([i - 100]) for i in ids if i)
        return raw.decode(errors="replace")

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        return [None] * len(ids)  # so that the way of tokenizers whose ids have no text of their own is tested too

    def chat(self, content: str) -> str:
        return content + "\n"
