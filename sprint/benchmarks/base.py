"""What every benchmark is: a name, rows read as samples, and a way to grade a text. To add one, see `math500`.

It knows no particular benchmark, no file format and no endpoint.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from sprint.answers import last_boxed, stated_answer
from sprint.equality import GRADER, Match, compare, same_text
from sprint.errors import InputError
from sprint.rows import writable
from sprint.tasks import Grade

BOX_OR_STATEMENT = "box or statement"  # the name of the grader that also takes an answer stated in words


@dataclass(frozen=True, slots=True)
class Sample:
    """One question with its gold answer.

    level, subject  of the problem, "" where the benchmark has none
    options         of a multiple-choice question, in the order in which they are asked; the answer is a letter
    """

    id: str
    question: str
    answer: str
    level: str = ""
    subject: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A graded text.

    grader        who gave the grade
    found         the answer that was graded; "" where there was none
    other_grades  what other named graders say of the same answer: name -> right; for a human look where they differ
    """

    grade: Grade
    grader: str
    found: str = ""
    other_grades: Mapping[str, bool] = field(default_factory=dict)


class Benchmark(ABC):
    """Questions from a file or a dataset hub.

    hub, hub_config, hub_split  where the rows are on the hub; hub "": only the user's own file
    """

    name: ClassVar[str]
    about: ClassVar[str]
    hub: ClassVar[str] = ""
    hub_config: ClassVar[str] = ""
    hub_split: ClassVar[str] = "test"

    @abstractmethod
    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample | None:
        """A row as a sample, or None where it is of another benchmark of the same file.

        Raises InputError naming the place and the column at fault. `seed` decides what is drawn, such as the order of
        options.
        """

    def find(self, text: str) -> str | None:
        """The answer of a whole text, where it is given as the question asks for it: here, in the last box."""
        return last_boxed(text)

    def grade(self, sample: Sample, found: str | None) -> Score:
        """The grade of a bare answer: here, by equivalence with the gold answer."""
        return score_answer(sample.answer, found)

    def score(self, sample: Sample, text: str, *, stated: bool = False) -> Score:
        """The grade of a whole text. `stated`: where no answer stands as it was asked for, one stated in words counts.

        What the other of the two readings says stands beside the grade, so that accuracy need not hang on who forgot
        a box.
        """
        strict = self.grade(sample, found := self.find(text))
        in_words = None if found else stated_answer(text)
        lenient = self.grade(sample, in_words) if in_words else strict
        if stated:
            others = {**lenient.other_grades, strict.grader: strict.grade.is_correct}
            return replace(lenient, grader=BOX_OR_STATEMENT, other_grades=others)
        return replace(strict, other_grades={**strict.other_grades, BOX_OR_STATEMENT: lenient.grade.is_correct})


def score_answer(gold: str, found: str | None) -> Score:
    """The grade of a bare answer, and whether a grader that only compares characters agrees."""
    if not found:
        return Score(Grade.NO_ANSWER, GRADER, "", {"exact": False})
    match = compare(gold, found)
    grade = Grade.CORRECT if match.is_same else Grade.UNDECIDED if match is Match.UNDECIDED else Grade.WRONG_VALUE
    return Score(grade, GRADER, found, {"exact": same_text(gold, found)})


def text_of(row: Mapping[str, Any], names: tuple[str, ...], where: str, default: str | None = None) -> str:
    """The first of these columns that holds a text or a number. Raises InputError when none does, without default."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return writable(str(value))
    if default is not None:
        return default
    raise InputError(f"{where}: {names[0]!r} is {row.get(names[0])!r}, expected a text", field=names[0])


def level_of(row: Mapping[str, Any], column: str = "level") -> str:
    """A level as a short text: 5 and `Level 5` are "5"."""
    return re.sub(r"^level\s+", "", text_of(row, (column,), "", ""), flags=re.IGNORECASE)
