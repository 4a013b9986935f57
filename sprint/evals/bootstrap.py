"""Bootstrap intervals (percentile method, Efron & Tibshirani 1993 §13): problems are drawn anew, each with its samples.

What makes one problem hard, or long, for every method is shared by its samples and by both sides of a comparison; so a
problem is drawn whole, and for both sides at once. The samples within it are not drawn anew a second time: how much
they vary is already in the problems' means, and drawing them too would count it twice (Davison & Hinkley 1997 §3.8).
It knows groups of numbers, one for each problem, and not what they measure. The same groups and seed give the same
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from sprint.evals.stats import CONFIDENCE, Interval

Groups = Sequence[Sequence[float]]  # for each problem, the values of its samples; none is empty

DRAWS = 2000
_CELLS = 1_000_000  # problems drawn in one go, to bound memory


def mean_of_means(groups: Groups) -> float:
    """The mean over problems of the mean over their samples: every problem weighs the same."""
    return fmean(fmean(group) for group in groups)


def mean_interval(groups: Groups, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Interval for the mean over problems."""
    return _percentiles(_drawn([groups], draws, seed)[0])


def difference_interval(mine: Groups, theirs: Groups, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Interval for mean(mine) - mean(theirs); the groups are paired by problem."""
    above, below = _drawn([mine, theirs], draws, seed)
    return _percentiles(above - below)


def ratio_interval(mine: Groups, theirs: Groups, *, draws: int = DRAWS, seed: int = 0) -> Interval | None:
    """Interval for mean(mine) / mean(theirs), paired by problem; None when the divisor can be 0."""
    if not theirs or min(map(min, theirs)) < 0 or not any(map(any, theirs)):
        return None
    above, below = _drawn([mine, theirs], draws, seed)
    return None if (below == 0).any() else _percentiles(above / below)


def _drawn(sides: Sequence[Groups], draws: int, seed: int) -> list[Any]:
    """For each side, the mean of each draw, [draws]; all sides get the same problems in the same draw."""
    import numpy as np

    count = len(sides[0])
    assert count, "nothing to draw from"
    assert all(len(groups) == count for groups in sides), "the sides are paired by problem"
    means = [np.array([fmean(group) for group in groups]) for groups in sides]
    rng, step = np.random.default_rng(seed), max(1, _CELLS // count)
    parts: list[list[Any]] = [[] for _ in sides]
    for start in range(0, draws, step):
        chosen = rng.integers(count, size=(min(step, draws - start), count))
        for part, values in zip(parts, means, strict=True):
            part.append(values[chosen].mean(axis=1))
    return [np.concatenate(part) for part in parts]


def _percentiles(drawn: Any) -> Interval:
    import numpy as np

    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high))
