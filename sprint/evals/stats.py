"""Intervals and tests that need nothing but the standard library.

It knows counts and lists of numbers, not tokens, problems or models. Resampling stands in `bootstrap`, tests for
several samples of one problem in `paired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist, fmean

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(correct: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927): honest near 0 and 1, and never outside them.

    `correct` need not be whole: with several samples a problem, it is the sum of the problems' shares and `total` the
    number of problems. That treats the samples of a problem as one, so the interval is then rather too wide.
    """
    assert 0 <= correct <= total, "more correct than asked"
    if total == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = correct / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / total + weight / (4 * total))
    # At the ends the bound is 0 or 1 exactly; rounding must not say otherwise.
    return Interval(0.0 if correct == 0 else middle - half, 1.0 if correct == total else middle + half)


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
    tail = sum(comb(total, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**total))


def newcombe(both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """Interval of 95 % for the difference of two paired proportions, first - second (Newcombe 1998, method 10).

    Built from Wilson's intervals of both, so it does not shrink to a point where the two never differed.
    """
    total = both + only_first + only_second + neither
    if not total:
        return Interval(-1.0, 1.0)
    first, second = both + only_first, both + only_second
    (p, around_p), (q, around_q) = ((n / total, wilson(n, total)) for n in (first, second))
    spread = first * second * (total - first) * (total - second)
    product: float = both * neither - only_first * only_second
    product = max(product - total / 2, 0.0) if product > 0 else product  # a correction for continuity
    phi = product / sqrt(spread) if spread else 0.0
    down, up = (p - around_p.low, around_q.high - q), (around_p.high - p, q - around_q.low)
    low, high = (sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)) for a, b in (down, up))
    return Interval(p - q - low, p - q + high)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None when there is nothing to average or some value is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
