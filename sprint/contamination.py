"""Overlap of training questions with the problems of evaluation sets, by runs of words.

Knows texts and the names they go by; does not know where they came from or what follows from an overlap. Mathematics
is compared by its letters and numbers, so spacing, dollar signs and kinds of fraction do not hide a copy.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sprint.hashing import hash64

MIN_WORDS = 5
_MOSTLY = 0.8  # share of its runs that the shorter of two tellings of a problem has in common with the other
_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.S)  # drawing code is much alike in different problems
_TYPOGRAPHY = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|q?quad|text(?:bf|it|rm|sf)?|mathrm|mathbf|mbox|emph)(?![a-z])"
    r"|(?<=\d),(?:\\!)?(?=\d{3}(?!\d))"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![a-z])")
_WORD = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Contamination:
    """The runs of `n` words in the problems of evaluation sets, as 64-bit digests, each with its problem's number.

    A problem of fewer than `n` words is one run, and only the very same question matches it. Digests are the same in
    every process, so this travels to workers by pickle.
    """

    n: int
    names: tuple[str, ...]
    runs: Mapping[int, int]

    @classmethod
    def of(cls, named_texts: Iterable[tuple[str, str]], n: int = 13) -> Contamination:
        """The index of problems given as (name, text), where a name tells a person which problem it is.

        A run that stands in several different problems is a turn of phrase ("where m and n are relatively prime
        positive integers…") and says nothing, so it is left out. Where almost all of a
        problem stands in another, the two are one, told twice: sets repeat one another's in words of their own.
        """
        names: list[str] = []
        owners: dict[int, int] = {}
        common: set[int] = set()
        sizes: list[int] = []
        for number, (name, text) in enumerate(named_texts):
            names.append(name)
            runs = dict.fromkeys(_runs(_words(text), n))
            shared = Counter(owners[run] for run in runs if run in owners)
            sizes.append(len(runs))
            same = {owner for owner, count in shared.items() if count > _MOSTLY * min(sizes[owner], len(runs))}
            common |= {run for run in runs if run in owners and owners[run] not in same}
            for run in runs:
                owners.setdefault(run, number)
        return cls(n, tuple(names), {run: owner for run, owner in owners.items() if run not in common})

    def find(self, question: str) -> str:
        """The name of the first evaluation problem that shares a run of words with `question`, or ""."""
        for run in _runs(_words(question), self.n):
            if run in self.runs:
                return self.names[self.runs[run]]
        return ""


def _words(text: str) -> list[str]:
    """Words and numbers of a text, in lower case; punctuation, white space, layout and drawings are gone."""
    text = _FIGURE.sub(" ", unicodedata.normalize("NFKC", text))
    return _WORD.findall(_FRACTION.sub(" frac", _TYPOGRAPHY.sub("", text)).lower())


def _runs(words: Sequence[str], n: int) -> Iterator[int]:
    """The digests of all runs of `n` words; of a shorter text the whole, if it has MIN_WORDS at least."""
    if len(words) < n:
        if len(words) >= MIN_WORDS:
            yield hash64(" ".join(words))
        return
    for start in range(len(words) - n + 1):
        yield hash64(" ".join(words[start : start + n]))
