r"""Final answers: finding them in a model's text. Whether two are the same is said by `equality`.

It knows boxes and sentences, and nothing of tasks, prompts or who wrote the text. Nothing here raises on any text.
"""

from __future__ import annotations

import re

from sprint.equality import same_answer
from sprint.spelling import normalise

__all__ = ["boxed", "final_sentence", "last_boxed", "normalise", "same_answer", "stated_answer"]

_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
# White space after a stop, an empty line, or a line break before a capital; in one branch, to run from space to space.
_SENTENCE_END = re.compile(r"\s(?:(?<=[.!?]\s)\s*|(?<=\n)\s*\n|(?<=\n)(?=[A-Z*]))")

_STATED = re.compile(r"\banswer[*_]*(?: (?:is|should be|must be)\b[*_]*:?|:)[*_]*[ \t]+(\S[^\n]{0,200})", re.IGNORECASE)


def boxed(answer: str) -> str:
    """`answer` as a model is asked to write it."""
    return f"\\boxed{{{answer}}}"


def last_boxed(text: str) -> str | None:
    r"""The contents of the last `\boxed{…}` whose braces are balanced (nested braces included), or None."""
    span = _last_boxed_span(text)
    if span is None:
        return None
    return text[span[0] : span[1]].split("{", 1)[1][:-1].strip()


def stated_answer(text: str) -> str | None:
    """What the last `Final Answer: 80` or `so the answer is 80.` says, or None: for models not asked for a box."""
    sentences = [_SENTENCE_END.split(match[1])[0] for match in _STATED.finditer(text)]
    return next((stated for sentence in reversed(sentences) if (stated := sentence.strip(" *_$."))), None)


def final_sentence(response: str) -> str:
    """The last sentence that holds a boxed answer, or "" where none does (paper appendix: the final answer text).

    A box that runs over several sentences or lines brings all of them.
    """
    span = _last_boxed_span(response)
    if span is None:
        return ""
    start = max((end.end() for end in _SENTENCE_END.finditer(response, 0, span[0])), default=0)
    stop = _SENTENCE_END.search(response, span[1])
    return response[start : stop.start() if stop else len(response)].strip()


def _last_boxed_span(text: str) -> tuple[int, int] | None:
    """Start and end of the last box that closes. One pass, so a text of a million open boxes costs no more."""
    first = text.find("\\boxed")
    if first < 0:
        return None
    open_braces: list[tuple[int, bool]] = []
    found: tuple[int, int] | None = None
    for match in _BRACES.finditer(text, text.rfind("\n", 0, first) + 1):  # a line break is no part of an escape's end
        if match[0] == "}":
            start, is_box = open_braces.pop() if open_braces else (0, False)
            if is_box and (found is None or start > found[0]):
                found = (start, match.end())
        elif match[0].endswith("{") and match[0] != r"\{":
            open_braces.append((match.start(), match[0] != "{"))
    return found
