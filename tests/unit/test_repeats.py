"""Several samples of one problem: pass@k and maj@k, by known chances and by their laws."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.evals.repeats import Votes, classes, maj_at_k, pass_at_k, repeat_rows


# 1 - scipy.stats.hypergeom.pmf(0, total, right, k)
@pytest.mark.parametrize(
    ("total", "right", "k", "chance"),
    [(10, 3, 1, 0.3), (10, 3, 5, 0.9166666666666666), (16, 1, 8, 0.5), (20, 20, 3, 1.0), (8, 0, 4, 0.0)],
)
def test_pass_at_k_gives_the_known_chances(total: int, right: int, k: int, chance: float) -> None:
    assert pass_at_k(total, right, k) == pytest.approx(chance, rel=1e-12)


# the sum of scipy.stats.multivariate_hypergeom.pmf over all draws that elect the right answer, ties shared
@pytest.mark.parametrize(
    ("votes", "k", "chance"),
    [
        (Votes(3, (3, 2), 0), 4, 0.41428571428571415),
        (Votes(2, (3, 1, 1), 1), 5, 0.2857142857142857),
        (Votes(4, (4,), 0), 8, 0.5),
        (Votes(1, (2, 2), 3), 1, 0.125),
        (Votes(5, (3, 3), 5), 9, 0.6620046620046615),
    ],
)
def test_maj_at_k_gives_the_known_chances(votes: Votes, k: int, chance: float) -> None:
    assert maj_at_k(votes, k) == pytest.approx(chance, rel=1e-12)


def _elected(votes: Votes, k: int) -> float:
    """maj@k by trying every choice of k samples."""
    samples = [0] * votes.right + [i for i, size in enumerate(votes.wrong, 1) for _ in range(size)] + [-1] * votes.blank
    won = []
    for drawn in combinations(samples, k):
        counts = {answer: drawn.count(answer) for answer in drawn if answer >= 0}
        top = [answer for answer, count in counts.items() if count == max(counts.values())]
        won.append(1 / len(top) if 0 in top else 0.0)
    return fmean(won)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 4), st.lists(st.integers(1, 3), max_size=3), st.integers(0, 2), st.data())
def test_maj_at_k_is_the_mean_over_every_choice_of_k(
    right: int, wrong: list[int], blank: int, data: st.DataObject
) -> None:
    votes = Votes(right, tuple(wrong), blank)
    if votes.total:
        k = data.draw(st.integers(1, votes.total))
        assert maj_at_k(votes, k) == pytest.approx(_elected(votes, k))


@given(st.integers(1, 20), st.data())
def test_one_sample_passes_and_is_elected_as_often_as_it_is_right(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    votes = Votes(right, (1,) * (total - right))
    assert pass_at_k(total, right, 1) == pytest.approx(right / total)
    assert maj_at_k(votes, 1) == pytest.approx(right / total)


def test_answers_are_grouped_by_equality_and_not_by_spelling() -> None:
    same = {frozenset(pair) for pair in (("1/2", "0.5"), ("1/2", "2/4"))}
    assert classes(["0.5", "1/2", "3", "1/2", "2/4"], lambda a, b: frozenset((a, b)) in same) == (4, 1)
    assert classes([], lambda a, b: True) == ()


def test_rows_stand_for_powers_of_two_and_for_all_samples() -> None:
    rows = repeat_rows([Votes(3, (2, 1)), Votes(6), Votes(0, (7,))])
    assert [row.k for row in rows] == [1, 2, 4, 6]
    assert [row.pass_at_k for row in rows] == sorted(row.pass_at_k for row in rows)
    for row in rows:
        assert row.pass_interval.low <= row.pass_at_k <= row.pass_interval.high
    assert repeat_rows([Votes(1), Votes(3)]) == []
    assert repeat_rows([]) == []
