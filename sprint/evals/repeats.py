"""Several samples of each problem: pass@k, and maj@k, the accuracy of a majority vote among k of them.

Both are exact expectations over all ways to pick k of the n samples that there are, not one draw of k. It knows whether
a sample was right and which wrong ones agree; it does not know how answers are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean

from sprint.evals.bootstrap import mean_interval
from sprint.evals.stats import Interval

_MOST_COMPARED = (
    24  # different wrong answers to one problem beyond which they count as different without being compared
)


@dataclass(frozen=True, slots=True)
class Votes:
    """The samples of one problem: how many were right, how many agreed on each wrong answer, how many gave none."""

    right: int
    wrong: tuple[int, ...] = ()
    blank: int = 0

    @property
    def total(self) -> int:
        return self.right + sum(self.wrong) + self.blank


@dataclass(frozen=True, slots=True)
class RepeatRow:
    """pass@k and maj@k over all problems, with bootstrap intervals of 95 % (problems resampled)."""

    k: int
    pass_at_k: float
    pass_interval: Interval
    maj_at_k: float
    maj_interval: Interval


def pass_at_k(total: int, right: int, k: int) -> float:
    """The chance that at least one of k samples, picked from `total` without replacement, is right (Chen et al. 2021).

    Unbiased, which 1 - (1 - right / total) ** k is not.
    """
    assert 0 <= right <= total, "more right than sampled"
    assert 1 <= k <= total, "k samples are picked from those there are"
    return 1 - comb(total - right, k) / comb(total, k)


def maj_at_k(votes: Votes, k: int) -> float:
    """The chance that a vote among k samples, picked without replacement, elects the right answer.

    The most frequent answer wins, ties are broken by lot, and samples without an answer do not vote.
    """
    assert 1 <= k <= votes.total, "k samples are picked from those there are"
    won = 0.0
    for count in range(1, min(votes.right, k) + 1):
        for tied, ways in _others(votes, k - count, count).items():
            won += comb(votes.right, count) * ways / (1 + tied)
    return won / comb(votes.total, k)


def _others(votes: Votes, picked: int, most: int) -> dict[int, int]:
    """Ways to pick `picked` samples that are not right, no wrong answer above `most` votes, by how many reach it."""
    ways = {(blank, 0): comb(votes.blank, blank) for blank in range(min(votes.blank, picked) + 1)}
    for size in votes.wrong:
        grown: dict[tuple[int, int], int] = {}
        for (used, tied), number in ways.items():
            for count in range(min(size, most, picked - used) + 1):
                place = (used + count, tied + (count == most))
                grown[place] = grown.get(place, 0) + number * comb(size, count)
        ways = grown
    return {tied: number for (used, tied), number in ways.items() if used == picked}


def classes(answers: Sequence[str], same: Callable[[str, str], bool]) -> tuple[int, ...]:
    """The sizes of the groups of equal answers, largest first. An answer joins the first group that it is equal to."""
    counted: dict[str, int] = {}
    for answer in answers:
        counted[answer] = counted.get(answer, 0) + 1
    groups: list[tuple[str, int]] = []
    for answer, count in sorted(counted.items(), key=lambda item: -item[1]):
        compared = enumerate(groups[:_MOST_COMPARED])
        place = next((i for i, (first, _) in compared if same(first, answer)), None)
        if place is None:
            groups.append((answer, count))
        else:
            groups[place] = (groups[place][0], groups[place][1] + count)
    return tuple(sorted((count for _, count in groups), reverse=True))


def repeat_rows(problems: Sequence[Votes]) -> list[RepeatRow]:
    """A row for k = 1, 2, 4, … and all samples that every problem has; none where some problem has but one."""
    least = min((votes.total for votes in problems), default=0)
    if least < 2:
        return []
    return [_row(problems, k) for k in sorted({*(2**i for i in range(least.bit_length())), least}) if k <= least]


def _row(problems: Sequence[Votes], k: int) -> RepeatRow:
    passed = [(pass_at_k(votes.total, votes.right, k),) for votes in problems]
    elected = [(maj_at_k(votes, k),) for votes in problems]
    means = [fmean(value for (value,) in values) for values in (passed, elected)]
    return RepeatRow(k, means[0], mean_interval(passed), means[1], mean_interval(elected))
