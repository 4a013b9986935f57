"""What a run saves against the baseline, bin by bin (the paper's Fig. 6, with counts and intervals).

It knows bins and comparisons, not how the bins were chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.bins import Bins
from sprint.evals.bootstrap import mean_of_means
from sprint.evals.comparison import Estimate, Pair, answered, difference, paired, ratio
from sprint.evals.measures import average
from sprint.evals.results import Result
from sprint.evals.stats import Interval, wilson

MEASURE = "pipelined_tokens"


@dataclass(frozen=True, slots=True)
class BinRow:
    """One bin. Means are over the `num_answered` problems that both answered; None where there is none.

    `ratio` is run / baseline, `more` run - baseline; accuracies are over all `num_problems` with Wilson's interval.
    """

    title: str
    num_problems: int
    num_answered: int
    mine: float | None
    theirs: float | None
    ratio: Estimate | None
    more: Estimate | None
    accuracy: tuple[float, Interval] | None
    baseline_accuracy: tuple[float, Interval] | None


@dataclass(frozen=True, slots=True)
class Savings:
    """A run against the baseline in every bin, by sequential tokens (pipelined)."""

    label: str
    baseline: str
    bins: Bins
    rows: tuple[BinRow, ...]


def savings(run: Sequence[Result], baseline: Sequence[Result], bins: Bins) -> Savings:
    """The rows of all bins, in order."""
    pairs = paired(run, baseline)
    binned = [[pair for pair in pairs if bins.places.get(pair[0][0].id) == place] for place in range(len(bins.titles))]
    rows = tuple(_row(title, group) for title, group in zip(bins.titles, binned, strict=True))
    return Savings(run[0].label, baseline[0].label, bins, rows)


def _row(title: str, pairs: Sequence[Pair]) -> BinRow:
    measured = answered(pairs)
    return BinRow(
        title=title,
        num_problems=len(pairs),
        num_answered=len(measured),
        mine=average([pair[0] for pair in measured], MEASURE),
        theirs=average([pair[1] for pair in measured], MEASURE),
        ratio=ratio(measured, MEASURE),
        more=difference(measured, MEASURE),
        accuracy=_accuracy([pair[0] for pair in pairs]),
        baseline_accuracy=_accuracy([pair[1] for pair in pairs]),
    )


def _accuracy(groups: Sequence[Sequence[Result]]) -> tuple[float, Interval] | None:
    if not groups:
        return None
    share = mean_of_means([[float(result.is_correct) for result in group] for group in groups])
    return share, wilson(min(share, 1.0) * len(groups), len(groups))
