"""Tests of a paired comparison: is one method right more often than the other on the same problems?

It knows how many samples of each problem were right, not what the problems are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from sprint.evals.stats import mcnemar

_MOST_UNITS = 2_000_000  # sums beyond which the exact distribution would need too much memory


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A two-sided test. `better` and `worse` count the problems that went either way; the rest were tied."""

    name: str
    p_value: float
    better: int
    worse: int


def right_equally_often(mine: Sequence[Sequence[bool]], theirs: Sequence[Sequence[bool]]) -> PairedTest:
    """Whether both are equally often right; for each problem, its samples on either side.

    One sample each: McNemar's exact test. Several: the exact sign-flip test on the problems' differences, of which
    McNemar's is the special case (under the null hypothesis the methods could change places on any problem).
    """
    differences = [_share(ours) - _share(others) for ours, others in zip(mine, theirs, strict=True)]
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    if all(len(samples) == 1 for samples in (*mine, *theirs)):
        return PairedTest("exact McNemar test", mcnemar(better, worse), better, worse)
    return PairedTest("exact sign-flip test over problems", sign_flip(differences), better, worse)


def _share(samples: Sequence[bool]) -> Fraction:
    return Fraction(sum(samples), len(samples))


def sign_flip(differences: Sequence[Fraction]) -> float:
    """Two-sided p-value: how often random signs give a sum at least as far from 0 as the one observed.

    Exact: the distribution of the sum is built up difference by difference (Pitman 1937).
    """
    import numpy as np

    units = _whole(differences)
    total, observed = sum(map(abs, units)), abs(sum(units))
    if not total:
        return 1.0
    chances = np.zeros(2 * total + 1)  # of the sum being i - total
    chances[total] = 1.0
    for unit in map(abs, units):
        # np.roll never wraps a chance round: the sum so far plus `unit` is at most `total`.
        chances = (np.roll(chances, unit) + np.roll(chances, -unit)) / 2
    sums = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, chances[sums >= observed].sum()))


def _whole(differences: Sequence[Fraction]) -> list[int]:
    """The differences as whole numbers of their largest common unit; ties are left out.

    Where that unit is so small that the sums could not be listed, it is a ten-thousandth.
    """
    scale = lcm(*(d.denominator for d in differences)) if differences else 1
    if scale * sum(map(abs, differences)) > _MOST_UNITS:
        scale = 10_000
    units = [round(d * scale) for d in differences if d]
    common = gcd(*units) or 1
    return [unit // common for unit in units]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being several (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted
