"""The statistics of a comparison: intervals and tests from the standard library. It knows no tokens or models."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist, fmean


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(correct: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927): honest near 0 and 1, and never outside them."""
    assert 0 <= correct <= total, "more correct than asked"
    if total == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = correct / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / total + weight / (4 * total))
    # At the ends the bound is 0 or 1 exactly; rounding must not say otherwise.
    return Interval(0.0 if correct == 0 else middle - half, 1.0 if correct == total else middle + half)


def ratio_of_means(
    above: Sequence[float], below: Sequence[float], *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval | None:
    """Paired bootstrap interval (percentiles) for mean(above) / mean(below); None when the divisor can be 0.

    The pairs are drawn together, so what makes one problem long for both methods cancels.
    """
    assert len(above) == len(below), "the samples are paired"
    if not below or min(below) < 0 or not any(below):
        return None
    dice, pairs, ratios = random.Random(seed), list(zip(above, below, strict=True)), []
    for _ in range(draws):
        drawn = dice.choices(pairs, k=len(pairs))
        divisor = sum(pair[1] for pair in drawn)
        if not divisor:
            return None
        ratios.append(sum(pair[0] for pair in drawn) / divisor)
    ratios.sort()
    tail = (1 - confidence) / 2
    return Interval(quantile(ratios, tail), quantile(ratios, 1 - tail))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie, interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    left = int(place)
    right = min(left + 1, len(ordered) - 1)
    return ordered[left] + (ordered[right] - ordered[left]) * (place - left)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value: the chance of so uneven a split if both methods were equally often right.

    The arguments count the problems that exactly one of the two methods solved.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(total, k) for k in range(fewer + 1)) / 2**total
    return float(min(1.0, 2 * tail))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None when there is nothing to average or some value is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
