"""What the graders said: accuracy under each of them, and the answers on which they disagree, for a human look.

The grade of a result is its own grader's; others may have left their verdicts beside it. It judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.bootstrap import mean_of_means
from sprint.evals.paired import PairedTest, right_equally_often
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import Interval, wilson

OWN = "the grader"  # of files from before graders had names


@dataclass(frozen=True, slots=True)
class GraderRow:
    """A run under one grader: accuracy over the problems where it gave a verdict on every sample."""

    grader: str
    label: str
    num_problems: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class GraderTest:
    """A run against the baseline under one grader, on the problems that it graded in both."""

    grader: str
    label: str
    baseline: str
    test: PairedTest


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An answer that two graders see differently."""

    label: str
    id: str
    gold: str
    answer: str
    grader: str
    is_right: bool
    other: str
    other_is_right: bool


def graders(runs: Sequence[Sequence[Result]]) -> list[str]:
    """The names of all graders: those whose grades count first."""
    own = {result.grader or OWN: None for run in runs for result in run}
    others = {name: None for run in runs for result in run for name in result.other_grades}
    return [*own, *(name for name in others if name not in own)]


def verdict(result: Result, grader: str) -> bool | None:
    """What a grader said of a result; None where it said nothing. An unanswered result is wrong for every grader."""
    if result.grade is None:
        return False
    if grader == (result.grader or OWN):
        return result.is_correct
    return result.other_grades.get(grader)


def grader_rows(runs: Sequence[Sequence[Result]]) -> list[GraderRow]:
    """A row for each grader and run."""
    rows = []
    for grader in graders(runs):
        for run in runs:
            groups = _marks(run, grader)
            if groups:
                share = mean_of_means(list(groups.values()))
                interval = wilson(min(share, 1.0) * len(groups), len(groups))
                rows.append(GraderRow(grader, run[0].label, len(groups), share, interval))
    return rows


def grader_tests(run: Sequence[Result], baseline: Sequence[Result]) -> list[GraderTest]:
    """Whether both runs are equally often right, under each grader."""
    tests = []
    for grader in graders([run, baseline]):
        mine, theirs = _marks(run, grader), _marks(baseline, grader)
        shared = [id for id in mine if id in theirs]
        if shared:
            test = right_equally_often([mine[id] for id in shared], [theirs[id] for id in shared])
            tests.append(GraderTest(grader, run[0].label, baseline[0].label, test))
    return tests


def _marks(run: Sequence[Result], grader: str) -> dict[str, list[bool]]:
    """By problem, the verdicts on its samples, where the grader gave all of them."""
    found: dict[str, list[bool]] = {}
    for id, group in by_problem(run).items():
        verdicts = [verdict(result, grader) for result in group]
        if None not in verdicts:
            found[id] = [bool(said) for said in verdicts]
    return found


def disagreements(run: Sequence[Result]) -> list[Disagreement]:
    """The answers of a run on which another grader disagrees with the one whose grade counts, in the run's order."""
    return [
        Disagreement(
            result.label, result.id, result.gold, result.answer, result.grader or OWN, result.is_correct, other, said
        )
        for result in run
        for other, said in result.other_grades.items()
        if result.grade is not None and said != result.is_correct
    ]
