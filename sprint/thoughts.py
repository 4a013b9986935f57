"""Where the thought ends and the answer begins in a reply: the marks that reasoning models and their datasets write.

`<think>…</think>` of R1 and its kin, and `<|begin_of_thought|>…<|end_of_thought|>` followed by
`<|begin_of_solution|>…<|end_of_solution|>`. Knows marks, not what a thought is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

_OPEN, _CLOSE = "<think>", "</think>"
_BEGIN, _END = "<|begin_of_thought|>", "<|end_of_thought|>"
_BEGIN_ANSWER, _END_ANSWER = "<|begin_of_solution|>", "<|end_of_solution|>"


@dataclass(frozen=True, slots=True)
class Reply:
    """A thought, what follows it, and whether the thought was closed (False: the teacher ran out of budget)."""

    thought: str
    answer: str = ""
    closed: bool = True


def has_marks(text: str) -> bool:
    """Whether anything in `text` says where a thought is."""
    return any(mark in text for mark in (_OPEN, _CLOSE, _BEGIN, _END, _BEGIN_ANSWER))


def split(text: str) -> Reply:
    """The parts of a reply. What stands before the thought (a rendered prompt) is in none of them.

    A reply without marks is a thought that was never closed: chat templates write the opening mark into the prompt.
    """
    if any(mark in text for mark in (_BEGIN, _END, _BEGIN_ANSWER)):
        return _split_solution(text)
    thought, closed, answer = text.partition(_CLOSE)
    return Reply(_after(thought, _OPEN), answer, bool(closed))


def _split_solution(text: str) -> Reply:
    text = _after(text, _BEGIN)
    ends = [place for mark in (_END, _BEGIN_ANSWER) if (place := text.find(mark)) >= 0]
    if not ends:
        return Reply(text, closed=False)
    rest = text[min(ends) :].removeprefix(_END)
    return Reply(text[: min(ends)], _after(rest, _BEGIN_ANSWER).partition(_END_ANSWER)[0])


def _after(text: str, mark: str) -> str:
    """What follows the first `mark`, or all of a text without it."""
    return text.partition(mark)[2] if mark in text else text


def thought_of(text: str) -> str:
    """A thought that stands by itself, without the marks around it."""
    text = text.strip()
    if text.startswith((_OPEN, _BEGIN)):
        return split(text).thought
    return text.removesuffix(_CLOSE).removesuffix(_END)


def answer_of(text: str) -> str:
    """What a reply says after its thought; all of it when it holds none."""
    return split(text).answer if has_marks(text) else text
