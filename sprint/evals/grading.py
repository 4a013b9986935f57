"""What the graders said: accuracy under each of them, and the answers on which they disagree, for a human look.

The grade of a result is its own grader's; others may have left their verdicts beside it. It judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sprint.evals.bootstrap import mean_of_means
from sprint.evals.paired import PairedTest, holm, right_equally_often
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import ALPHA, Interval, wilson
from sprint.tasks import Grade

OWN = "the grader"  # of files from before graders had names
_TOGETHER = " and "
_MOST_CHARS = 80


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
    """A run against the baseline under one grader that graded all problems that both were asked.

    shares       the accuracies of run and baseline under it
    p_adjusted   after Holm's correction for all comparisons of a report under this grader (alone: the same)
    unanswered   the samples of run and baseline that hold no answer where the first grader looks for one
    """

    grader: str
    label: str
    baseline: str
    test: PairedTest
    shares: tuple[float, float]
    p_adjusted: float
    unanswered: tuple[int, int]

    @property
    def is_significant(self) -> bool:
        """Whether the accuracies differ under this grader, at the 5 % level."""
        return self.p_adjusted < ALPHA


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
    """The names of all graders: those whose grades count first.

    Where several gave the grades that count (a judge had a second look), before them stands all of them together.
    """
    own = list({result.grader or OWN: None for run in runs for result in run if result.grade is not None})
    others = {name: None for run in runs for result in run for name in result.other_grades}
    together = [_TOGETHER.join(own)] if len(own) > 1 else []
    return [*together, *own, *(name for name in others if name not in own)]


def verdict(result: Result, grader: str) -> bool | None:
    """What a grader said of a result; None where it said nothing. An unanswered result is wrong for every grader."""
    if result.grade is None:
        return False
    mine = result.grader or OWN
    if grader == mine or mine in grader.split(_TOGETHER):
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
    """Whether both runs are equally often right, under each grader.

    One that saw only some answers, as a judge does that is asked about the doubtful ones, cannot say.
    """
    asked = list(by_problem(run).keys() & by_problem(baseline).keys())
    tests = []
    for grader in graders([run, baseline]):
        mine, theirs = _marks(run, grader), _marks(baseline, grader)
        if all(id in mine and id in theirs for id in asked):
            sides = [[marks[id] for id in asked] for marks in (mine, theirs)]
            test, shares = right_equally_often(*sides), (mean_of_means(sides[0]), mean_of_means(sides[1]))
            unanswered = (_unanswered(run), _unanswered(baseline))
            tests.append(GraderTest(grader, run[0].label, baseline[0].label, test, shares, test.p_value, unanswered))
    return tests


def corrected(tests: Sequence[GraderTest]) -> list[GraderTest]:
    """The tests with their p-values adjusted for being several under the same grader."""
    adjusted: dict[int, float] = {}
    for grader in {one.grader for one in tests}:
        places = [place for place, one in enumerate(tests) if one.grader == grader]
        adjusted.update(zip(places, holm([tests[place].test.p_value for place in places]), strict=True))
    return [replace(one, p_adjusted=adjusted[place]) for place, one in enumerate(tests)]


def _unanswered(run: Sequence[Result]) -> int:
    return sum(result.grade is Grade.NO_ANSWER for result in run)


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
            result.label, result.id, result.gold, _shown(result), result.grader or OWN, result.is_correct, other, said
        )
        for result in run
        for other, said in result.other_grades.items()
        if result.grade is not None and said != result.is_correct
    ]


def _shown(result: Result) -> str:
    """The answer, or where there is none how the text ends: that is what the other grader went by."""
    return result.answer or f"(no answer marked) {result.reasoning.rstrip()[-_MOST_CHARS:]}"
