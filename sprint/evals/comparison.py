"""Two runs on the same problems: how their accuracy and their measures differ, and how sure that is.

It knows results and statistics, and nothing of how a comparison is worded or shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sprint.errors import InputError
from sprint.evals.bootstrap import difference_interval, mean_of_means, ratio_interval
from sprint.evals.measures import COMPARED, values
from sprint.evals.paired import right_equally_often
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import ALPHA, Interval, newcombe

FEW = 8  # problems below which a percentile interval is much too narrow
Pair = tuple[list[Result], list[Result]]  # the samples of one problem in either run


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its bootstrap interval of 95 %, of `num_problems` (0: not said)."""

    value: float
    interval: Interval
    num_problems: int = 0

    @property
    def is_of_few(self) -> bool:
        """Whether it is of too few problems for the bootstrap's interval: of a single one, that is a point."""
        return self.num_problems < FEW

    def excludes(self, point: float) -> bool:
        """Whether the interval leaves `point` out: the difference from it is then called significant."""
        return point not in self.interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against the baseline, on the problems that both were asked.

    num_pairs           problems with an answered sample in both runs: those that `ratios` and `differences` are of
    num_shared          problems asked in both: those that accuracy is compared on
    ratios              of means, run / baseline; None where a measure is missing on a side
    differences         of means, run - baseline
    shares              the accuracies of run and baseline on the shared problems
    accuracy            their difference, run - baseline, with its bootstrap interval
    accuracy_interval   the same difference's interval to go by: Newcombe's where each problem has one sample, for the
                        bootstrap's is too narrow where the runs hardly ever differ; else the bootstrap's
    better, worse       problems on which the run was right more, or less, often than the baseline
    p_value, test       of both being equally often right, two-sided
    p_adjusted          the same after Holm's correction for all comparisons of a report (alone: the same)
    """

    label: str
    baseline: str
    num_pairs: int
    num_shared: int
    ratios: dict[str, Estimate | None]
    differences: dict[str, Estimate | None]
    shares: tuple[float, float]
    accuracy: Estimate
    accuracy_interval: Interval
    better: int
    worse: int
    test: str
    p_value: float
    p_adjusted: float

    @property
    def is_significant(self) -> bool:
        """Whether the accuracies differ, at the 5 % level, all comparisons of the report considered."""
        return self.p_adjusted < ALPHA

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(run: Sequence[Result], baseline: Sequence[Result]) -> Comparison:
    """`run` against `baseline`. Raises InputError when they share no problem, or one id has two questions."""
    pairs = paired(run, baseline)
    measured = answered(pairs)
    mine, theirs = ([[result.is_correct for result in pair[side]] for pair in pairs] for side in (0, 1))
    test, apart = right_equally_often(mine, theirs), difference_interval(mine, theirs)
    return Comparison(
        label=run[0].label,
        baseline=baseline[0].label,
        num_pairs=len(measured),
        num_shared=len(pairs),
        ratios={name: ratio(measured, name) for name in COMPARED},
        differences={name: difference(measured, name) for name in COMPARED},
        shares=(mean_of_means(mine), mean_of_means(theirs)),
        accuracy=Estimate(mean_of_means(mine) - mean_of_means(theirs), apart),
        accuracy_interval=_score_interval(mine, theirs) or apart,
        better=test.better,
        worse=test.worse,
        test=test.name,
        p_value=test.p_value,
        p_adjusted=test.p_value,
    )


def _score_interval(mine: Sequence[Sequence[bool]], theirs: Sequence[Sequence[bool]]) -> Interval | None:
    """Newcombe's interval; None where some problem has several samples."""
    if any(len(samples) > 1 for samples in (*mine, *theirs)):
        return None
    counts = Counter((ours, others) for (ours,), (others,) in zip(mine, theirs, strict=True))
    return newcombe(*(counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))))


def paired(run: Sequence[Result], baseline: Sequence[Result]) -> list[Pair]:
    """The problems that both were asked. Raises InputError where there is none, or one id has two questions."""
    mine, theirs = by_problem(run), by_problem(baseline)
    pairs = [(group, theirs[problem]) for problem, group in mine.items() if problem in theirs]
    if not pairs:
        raise InputError(f"the runs {run[0].label!r} and {baseline[0].label!r} share no problem, so cannot be compared")
    for ours, others in pairs:
        if len({result.question for result in (*ours, *others)}) > 1:
            raise InputError(f"problem {ours[0].id!r} has different questions in the runs, so they cannot be compared")
    return pairs


def answered(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with an answered sample on both sides."""
    return [pair for pair in pairs if all(any(result.usage for result in side) for side in pair)]


def ratio(pairs: Sequence[Pair], name: str) -> Estimate | None:
    """mean(run) / mean(baseline) of a measure over answered pairs; None where it is not known or would divide by 0."""
    sides = _sides(pairs, name)
    interval = ratio_interval(*sides) if sides else None
    if not sides or not interval:
        return None
    return Estimate(mean_of_means(sides[0]) / mean_of_means(sides[1]), interval, len(sides[0]))


def difference(pairs: Sequence[Pair], name: str) -> Estimate | None:
    """mean(run) - mean(baseline) of a measure over answered pairs; None where it is not known."""
    sides = _sides(pairs, name)
    if not sides:
        return None
    return Estimate(mean_of_means(sides[0]) - mean_of_means(sides[1]), difference_interval(*sides), len(sides[0]))


def _sides(pairs: Sequence[Pair], name: str) -> tuple[list[list[float]], list[list[float]]] | None:
    """The measure of both sides, on the problems where both have it."""
    mine, theirs = values([pair[0] for pair in pairs], name), values([pair[1] for pair in pairs], name)
    if mine is None or theirs is None:
        return None
    both = [(ours, others) for ours, others in zip(mine, theirs, strict=True) if ours and others]
    return ([ours for ours, _ in both], [others for _, others in both]) if both else None
