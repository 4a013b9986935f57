"""GPQA-Diamond from the user's own copy: four options in an order of the seed's choosing, answered with a letter.

Its authors ask that no question be posted in plain text, so none is here and none is fetched; a result file holds
questions and should be kept as closely as the copy. It knows the columns of the published CSV.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sprint.answers import last_boxed
from sprint.benchmarks.base import Benchmark, Sample, Score, score_answer, text_of
from sprint.spelling import normalise, squeezed

LETTERS = "ABCD"
_STATED = re.compile(r"^[*_\s]*(?:final )?answer[*_]*\s*(?:is)?\s*:[*_\s]*\(?([A-D])\)?[*_.\s]*$", re.I | re.MULTILINE)


class Gpqa(Benchmark):
    """Columns: Question, Correct Answer, Incorrect Answer 1 to 3, Subdomain, Record ID."""

    name: ClassVar[str] = "gpqa"
    about: ClassVar[str] = "GPQA, e.g. its diamond set; the user's own CSV"

    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample:
        id = text_of(row, ("Record ID",), where)
        names = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
        options = [text_of(row, (name,), where).strip() for name in names]
        order = random.Random(f"gpqa {seed} {id}").sample(range(4), 4)  # of the record alone, wherever it stands
        shuffled = tuple(options[index] for index in order)
        return Sample(
            id=id,
            question=pose(text_of(row, ("Question",), where).strip(), shuffled),
            answer=LETTERS[order.index(0)],
            level=text_of(row, ("Writer's Difficulty Estimate",), where, ""),
            subject=text_of(row, ("Subdomain",), where, ""),
            options=shuffled,
        )

    def find(self, text: str) -> str | None:
        """The last boxed answer; without a box, what a line `ANSWER: C` says."""
        return last_boxed(text) or next((match[1] for match in reversed(list(_STATED.finditer(text)))), None)

    def grade(self, sample: Sample, found: str | None) -> Score:
        """By letter. An option's own text stands for its letter."""
        return replace(score_answer(sample.answer, _letter(found, sample.options)), found=found or "")


def pose(question: str, options: tuple[str, ...]) -> str:
    """The question as it is asked."""
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return "\n".join([question, "", *lines, "", "Answer with the letter of the right option, in \\boxed{}."])


def _letter(found: str | None, options: tuple[str, ...]) -> str | None:
    """`found`, or the letter of the one option of which it is the text."""
    spelled = squeezed(normalise(found or ""))
    named = [letter for letter, option in zip(LETTERS, options, strict=True) if squeezed(normalise(option)) == spelled]
    return named[0] if len(named) == 1 else found
