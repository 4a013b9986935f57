"""Turns of phrase that point back at another piece of work: "as before", "both methods agree", "what I got earlier".

Knows one text, in English, and the numbers beside each phrase. Does not know which other texts there are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sprint.quantities import numbers


class Reference(StrEnum):
    """What a phrase points at."""

    ONE = "one"  # the latest other piece of work
    ALL = "all"  # several of them: "all methods agree"
    WEAK = "weak"  # perhaps its own text: it counts only where another text holds the value that it speaks of


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase, the numbers of more than one digit that it speaks of, and whether its own text, further
    up, already says what it points at.
    """

    text: str
    reference: Reference
    values: tuple[str, ...]
    is_resolved: bool


_GOT = r"(?:found|got|had|calculated|computed|did|derived|saw|determined|obtained|concluded|worked out|figured out)\b"
_WORK = r"(?:(?:result|answer|calculation|computation|method|approach|conclusion|finding|count)(?:e?s)?|analysis)"
_WAYS = r"(?:methods|approaches|ways|calculations)"
_AGREE = (
    r"(?:agree|give|gave|lead|led|result|confirm|work|yield|converge|arrive|align|match|end|ended|point|come|came)\b"
)
_ALL = rf"all (?:of )?(?:the |these |my |two |three |four )*{_WAYS} (?:\w+ )?{_AGREE}"
_WEAK = rf"(?:which|that) (?:also )?matches(?! what)|i {_GOT}|we {_GOT}|(?:so|and|yes),? again\b"
_PHRASE = re.compile(  # of lower-case text
    rf"\b(?:{_ALL}|(?:both|either|the two) (?:of )?(?:the |these |my )?{_WAYS} (?:\w+ )?{_AGREE}|"
    r"(?:the |that['’]s |yep, |yes, |again, )same (?:result|answer|conclusion)|"
    rf"as before|(?:the same|same|like) (?:as|what) (?:before|earlier|previously)|"
    rf"(?:the|my|our) (?:previous|earlier|prior) {_WORK}|"
    rf"(?:match(?:es)?|agrees?|consistent|aligns?) (?:with )?what (?:i|we) (?:\w+ )?{_GOT}|{_WEAK})"
)
_IS_WEAK = re.compile(_WEAK)
# Cheap to look for: every phrase holds one of these.
_WORDS = ("before", "earlier", "previous", "prior ", "same ", "match", "agree", "consistent", "align", "again")
_VERBS = ("found", "got", "had", "did", "saw", "calculated", "computed", "derived", "determined", "obtained", " out")
_HINTS = (*_WORDS, *_VERBS, "concluded", "methods", "approaches", "ways", "calculations")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+")
_ANOTHER_WAY = re.compile(
    r"\b(?:alternatively|(?:an)?other (?:way|method|approach)|(?:different|second) (?:way|method|approach)|instead)\b"
)


def phrases(text: str) -> Iterator[Phrase]:
    """The phrases in `text`, in order."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return
    context = None
    written = text if len(text) == len(lowered) else lowered  # lower case is longer for a few letters
    for match in _PHRASE.finditer(lowered):
        context = context or _Context(lowered)
        yield context.phrase(match, written[match.start() : match.end()])


class _Context:
    """A text with its sentences, read once for all its phrases."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(end.end() for end in _SENTENCE_END.finditer(text))]
        ends = [*self._starts[1:], len(text)]
        self._values = [_numbers(text[start:end]) for start, end in zip(self._starts, ends, strict=True)]
        self._first: dict[str, int] = {}  # for each number, the sentence that it first stands in
        for index, values in enumerate(self._values):
            for value in values:
                self._first.setdefault(value, index)
        another = _ANOTHER_WAY.search(text)
        self._second_way = bisect_right(self._starts, another.start()) - 1 if another else len(self._starts)

    def phrase(self, match: re.Match[str], written: str) -> Phrase:
        """A phrase speaks of the numbers of its sentence, or, where that has none, of the sentence before."""
        at = bisect_right(self._starts, match.start()) - 1
        values = self._values[at] or (self._values[at - 1] if at else ())
        is_resolved = self._second_way < at - 1 or any(self._first[value] < at - 1 for value in values)
        return Phrase(written, _reference(match[0]), values, is_resolved)


def _reference(phrase: str) -> Reference:
    if phrase.startswith("all "):
        return Reference.ALL
    return Reference.WEAK if _IS_WEAK.fullmatch(phrase) else Reference.ONE


def _numbers(text: str) -> tuple[str, ...]:
    """The numbers of more than one digit, each once."""
    return tuple(dict.fromkeys(number for number in numbers(text) if len(number) > 1))
