"""Accuracy against cost: a point for each run, and which of them no other run beats on both.

It knows summaries and measures, and no drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.bootstrap import mean_interval, mean_of_means
from sprint.evals.comparison import Estimate
from sprint.evals.measures import WALLS, values
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import Interval
from sprint.evals.summary import Summary


@dataclass(frozen=True, slots=True)
class Point:
    """One run. `cost` is the mean of the measure over its problems, with its bootstrap interval."""

    label: str
    num_problems: int
    cost: Estimate
    accuracy: float
    interval: Interval
    on_frontier: bool


def points(runs: Sequence[Sequence[Result]], summaries: Sequence[Summary], measure: str) -> list[Point]:
    """The points of all runs; none where the measure is missing in some run."""
    costs = [_cost(run, measure) for run in runs]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return []
    best = frontier([(cost.value, run.accuracy) for cost, run in zip(known, summaries, strict=True)])
    return [
        Point(run.label, run.num_problems, cost, run.accuracy, run.accuracy_interval, place in best)
        for place, (cost, run) in enumerate(zip(known, summaries, strict=True))
    ]


def frontier(places: Sequence[tuple[float, float]]) -> set[int]:
    """The (cost, accuracy) pairs to which none is preferable: as cheap and as accurate, and better in one of both."""
    return {
        i
        for i, (cost, accuracy) in enumerate(places)
        if not any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in places)
    }


def clock(summaries: Sequence[Summary]) -> str:
    """The clock that all runs have, the undisturbed one first; "" where there is none."""
    return next((name for name in WALLS if all(run.counters[name] for run in summaries)), "")


def _cost(run: Sequence[Result], measure: str) -> Estimate | None:
    groups = by_problem(result for result in run if result.usage)
    found = [group for group in values(list(groups.values()), measure) or () if group]
    return Estimate(mean_of_means(found), mean_interval(found)) if found and any(map(any, found)) else None
