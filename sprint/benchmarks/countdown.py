"""Countdown from a given file; problems of any seed come from the task of the same name instead.

Graded by the task's own checker, on the numbers and the target of the row where it has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sprint.benchmarks.base import Benchmark, Sample, Score, text_of
from sprint.errors import InputError
from sprint.tasks.countdown import Countdown, rules_of
from sprint.tasks.expressions import check

CHECKER = "countdown"


class CountdownFile(Benchmark):
    """Columns: problem or question, in the task's wording or a common public one; else numbers and target; an id."""

    name: ClassVar[str] = "countdown"
    about: ClassVar[str] = "Countdown problems of the user's own file; `level` counts the numbers"

    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample:
        question = text_of(row, ("question", "problem"), where, "") or _posed(row, where)
        try:
            rules = rules_of(question)
        except InputError as error:
            raise InputError(f"{where}: {error}", field="question") from None
        return Sample(
            id=text_of(row, ("id",), where),
            question=question,
            answer=text_of(row, ("answer", "solution"), where, str(rules.target)),
            level=str(len(rules.numbers)),
        )

    def grade(self, sample: Sample, found: str | None) -> Score:
        """Exact: any expression that keeps the rules is right, whatever the gold answer."""
        return Score(check(found or "", rules_of(sample.question)), CHECKER, found or "")


def _posed(row: Mapping[str, Any], where: str) -> str:
    numbers, target = row.get("numbers", row.get("nums")), row.get("target")
    if not isinstance(numbers, list) or not all(type(number) is int for number in [*numbers, target]):
        raise InputError(f"{where}: expected a question, or whole numbers in 'numbers' and 'target'", field="numbers")
    return Countdown().question({"numbers": numbers, "target": target})
