"""Every statistic of the evaluation against values of scipy 1.17.1, numpy 2.3 or statsmodels 0.15.0, and by its laws.

The comments hold the calls that gave the numbers; neither library is needed to run this.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.evals.bootstrap import difference_interval, mean_interval, mean_of_means, ratio_interval
from sprint.evals.paired import holm, right_equally_often, sign_flip
from sprint.evals.stats import Interval, mcnemar, mean, newcombe, quantile, wilson

# --- shares ----------------------------------------------------------------------------------------------------------


# statsmodels.stats.proportion.proportion_confint(correct, total, method="wilson"); then Newcombe (1998a), table I
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (8, 10, 0.49016247153664183, 0.9433178485456247),
        (0, 7, 0.0, 0.3543304350666875),
        (463, 500, 0.8996652466777695, 0.945838815248988),
        (500, 500, 0.9923756595384479, 1.0),
        (37, 60, 0.49017595824099924, 0.7291172762591798),
    ],
)
def test_wilson_gives_the_known_intervals(correct: int, total: int, low: float, high: float) -> None:
    interval = wilson(correct, total)
    assert interval.low == pytest.approx(low, abs=1e-12)
    assert interval.high == pytest.approx(high, abs=1e-12)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(correct: int, total: int, low: float, high: float) -> None:
    interval = wilson(correct, total)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_is_symmetric_and_holds_the_share() -> None:
    for correct in range(31):
        here, there = wilson(correct, 30), wilson(30 - correct, 30)
        assert here.low == pytest.approx(1 - there.high)
        assert correct / 30 in here


# Newcombe (1998b), method 10: 36, 12, 2, 0 gives 0.0569 to 0.3404; Fagerland et al. (2014): 1, 1, 7, 12 gives -0.507
# to -0.026 (both as published, so to their digits)
@pytest.mark.parametrize(
    ("counts", "low", "high", "digits"),
    [((36, 12, 2, 0), 0.0569, 0.3404, 5e-5), ((1, 1, 7, 12), -0.507, -0.026, 5e-4)],
)
def test_newcombe_gives_the_published_intervals(
    counts: tuple[int, int, int, int], low: float, high: float, digits: float
) -> None:
    interval = newcombe(*counts)
    assert interval.low == pytest.approx(low, abs=digits)
    assert interval.high == pytest.approx(high, abs=digits)


@given(st.tuples(*[st.integers(0, 40)] * 4))
def test_newcombe_holds_the_difference_turns_with_the_methods_and_is_never_a_point(
    counts: tuple[int, int, int, int],
) -> None:
    both, first, second, neither = counts
    here, there = newcombe(*counts), newcombe(both, second, first, neither)
    assert here.low == pytest.approx(-there.high)
    assert -1.0 - 1e-9 <= here.low < here.high <= 1.0 + 1e-9
    if total := sum(counts):
        assert here.low - 1e-9 <= (first - second) / total <= here.high + 1e-9


# --- paired tests ----------------------------------------------------------------------------------------------------


# statsmodels.stats.contingency_tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue
@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(13, 2, 0.00738525390625), (24, 19, 0.542384011856484), (1, 9, 0.021484375), (40, 22, 0.030015864349067285)],
)
def test_mcnemar_gives_the_known_p_values(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(p, rel=1e-12)


def test_mcnemar_is_the_exact_sign_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)


# scipy.stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
@pytest.mark.parametrize(
    ("units", "scale", "p"),
    [([2, -1, 3, 1, 4, -2, 1, 0, 2, 3], 4, 0.0859375), ([3, -1, 2, 2, -5, 4, 1, 1], 8, 0.46875)],
)
def test_the_sign_flip_test_gives_the_known_p_values(units: list[int], scale: int, p: float) -> None:
    assert sign_flip([Fraction(unit, scale) for unit in units]) == pytest.approx(p, rel=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_with_one_sample_each_the_sign_flip_test_is_mcnemars(pairs: list[tuple[bool, bool]]) -> None:
    first, second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    flipped = sign_flip([Fraction(int(a) - int(b)) for a, b in pairs])
    assert flipped == pytest.approx(mcnemar(first, second), rel=1e-9)
    test = right_equally_often([[a] for a, _ in pairs], [[b] for _, b in pairs])
    assert (test.name, test.better, test.worse) == ("exact McNemar test", first, second)


def test_several_samples_are_compared_by_their_shares_however_many_each_side_has() -> None:
    test = right_equally_often([[True, True], [True, False], [False, False]], [[False], [True], [False]])
    assert test.name == "exact sign-flip test over problems"
    assert (test.better, test.worse) == (1, 1)
    assert test.p_value == 1.0  # the sums ±1/2 and ±3/2 are equally likely, and 1/2 was seen


def test_a_common_unit_too_fine_to_list_is_rounded_and_not_refused() -> None:
    dice = random.Random(0)
    differences = [Fraction(dice.randint(1, 96), prime) for prime in (97, 89, 83, 79, 73, 71, 67)]
    assert sign_flip(differences) == pytest.approx(2 / 2**7)


# statsmodels.stats.multitest.multipletests(p, method="holm")[1]
@pytest.mark.parametrize(
    ("given_p", "adjusted"),
    [([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]), ([0.2, 0.02, 0.9], [0.4, 0.06, 0.9]), ([0.3], [0.3])],
)
def test_holm_gives_the_known_adjustments(given_p: list[float], adjusted: list[float]) -> None:
    assert holm(given_p) == pytest.approx(adjusted)


# --- the bootstrap ---------------------------------------------------------------------------------------------------

_MINE = [512, 430, 801, 977, 650, 390, 720, 1105, 860, 540, 615, 702]
_THEIRS = [700, 655, 910, 1300, 640, 560, 1000, 1500, 870, 760, 900, 1010]


def alone(values: list[int]) -> list[list[float]]:
    return [[float(value)] for value in values]


# scipy.stats.bootstrap(..., n_resamples=200000, method="percentile", paired=True, rng=1).confidence_interval; what is
# left between the two is the chance of the draws
def test_the_bootstrap_gives_the_known_intervals() -> None:
    mine, theirs = alone(_MINE), alone(_THEIRS)
    mean_of_mine = mean_interval(mine, draws=50_000)
    assert (mean_of_mine.low, mean_of_mine.high) == pytest.approx((578.75, 812.0833), abs=3)
    apart = difference_interval(mine, theirs, draws=50_000)
    assert (apart.low, apart.high) == pytest.approx((-272.6667, -140.0833), abs=3)
    ratio = ratio_interval(mine, theirs, draws=50_000)
    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((0.717205, 0.831845), abs=2e-3)
    share = mean_interval(alone([1] * 37 + [0] * 23), draws=50_000)
    assert (share.low, share.high) == pytest.approx((0.5, 0.733333), abs=0.017)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    first = mean_interval(alone(_MINE))
    assert first == mean_interval(alone(_MINE))
    assert first != mean_interval(alone(_MINE), seed=1)


def test_the_bootstrap_of_a_constant_ratio_is_that_ratio() -> None:
    assert ratio_interval(alone([2, 4, 6]), alone([4, 8, 12])) == Interval(0.5, 0.5)


def test_the_bootstrap_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    dice, hits = random.Random(3), 0
    for trial in range(100):
        below = [dice.gauss(100, 10) for _ in range(40)]
        above = [[value * 0.6 + dice.gauss(0, 10)] for value in below]
        interval = ratio_interval(above, [[value] for value in below], draws=200, seed=trial)
        assert interval is not None
        hits += 0.6 in interval
    assert 85 <= hits <= 100


def test_the_bootstrap_covers_a_mean_of_several_samples_about_as_often_as_it_says_and_not_always() -> None:
    dice, hits = random.Random(7), 0
    for trial in range(300):
        shares = [dice.random() for _ in range(50)]
        groups = [[float(dice.random() < share) for _ in range(2)] for share in shares]
        hits += 0.5 in mean_interval(groups, draws=300, seed=trial)
    assert 0.90 <= hits / 300 <= 0.98


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def test_samples_of_one_problem_that_agree_are_worth_one_sample() -> None:
    once = [[float(i % 3 == 0)] for i in range(60)]
    four = [group * 4 for group in once]
    assert _width(mean_interval(four)) == pytest.approx(_width(mean_interval(once)), rel=0.1)


def test_samples_that_vary_within_problems_narrow_the_interval() -> None:
    dice = random.Random(5)
    many = [[float(dice.random() < 0.5) for _ in range(16)] for _ in range(60)]
    once = [group[:1] for group in many]
    assert _width(mean_interval(many)) < 0.6 * _width(mean_interval(once))


def test_problems_with_different_numbers_of_samples_weigh_the_same() -> None:
    groups = [[1.0], [0.0, 0.0, 0.0, 0.0]]
    assert mean_of_means(groups) == 0.5
    drawn = mean_interval(groups)
    assert (drawn.low, drawn.high) == (0.0, 1.0)


def test_a_ratio_to_nothing_is_not_a_number() -> None:
    assert ratio_interval([[1.0]], [[0.0]]) is None
    assert ratio_interval([], []) is None


# --- the rest --------------------------------------------------------------------------------------------------------


# np.quantile([3, 1, 4, 1, 5, 9, 2, 6], [0.1, 0.25, 0.5, 0.9])
def test_quantiles_interpolate_as_numpys_do() -> None:
    ordered = sorted([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    assert [quantile(ordered, share) for share in (0.1, 0.25, 0.5, 0.9)] == pytest.approx([1.0, 1.75, 3.5, 6.9])


def test_a_mean_with_an_unknown_is_unknown() -> None:
    assert mean([1.0, 3.0]) == 2.0
    assert mean([1.0, None]) is None
    assert mean([]) is None
