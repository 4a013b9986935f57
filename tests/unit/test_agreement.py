"""Laws of agreement: an annotation agrees with itself, exchanging the two mirrors the measures, counts add up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.agreement import Agreement, Matches, agreement, step_starts
from sprint.annotate import UnusableAnnotation
from sprint.types import Annotation, LineRange, StepLines

NUM_LINES = 12
LINES = [f"Line {number}.\n" for number in range(1, NUM_LINES + 1)]


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    """Steps that cover the lines from the first to the last, some with a plan, some with a comment."""
    cuts = sorted(draw(st.sets(st.integers(2, NUM_LINES), max_size=6)))
    steps = [_step(draw, a, b - 1) for a, b in zip([1, *cuts], [*cuts, NUM_LINES + 1], strict=True)]
    parents = tuple(
        tuple(sorted(draw(st.sets(st.integers(1, index - 1), max_size=2)))) if index > 1 else ()
        for index in range(1, len(steps) + 1)
    )
    return Annotation(tuple(steps), parents)


def _step(draw: st.DrawFn, first: int, last: int) -> StepLines:
    planned = draw(st.integers(0, last - first + 1))
    plan = LineRange(first, first + planned - 1) if planned else None
    rest = LineRange(first + planned, last) if first + planned <= last else None
    remark = draw(st.booleans())
    return StepLines(plan, None, "do it", rest) if remark else StepLines(plan, rest, "do it")


def cut(*starts: int, num_lines: int = 8, parents: tuple[tuple[int, ...], ...] = ()) -> Annotation:
    """Steps of executions that begin at these lines."""
    ends = [start - 1 for start in starts[1:]] + [num_lines]
    steps = tuple(StepLines(None, LineRange(a, b), "do it") for a, b in zip(starts, ends, strict=True))
    return Annotation(steps, parents or ((),) * len(steps))


@given(annotations())
def test_an_annotation_agrees_with_itself(annotation: Annotation) -> None:
    found = agreement(annotation, annotation, LINES)
    assert (found.num_traces, found.num_same_boundaries) == (1, 1)
    assert {found.boundaries.f1, found.edges.f1, found.ancestors.f1, found.role_kappa} <= {1.0, None}
    assert (found.pk_errors, found.windowdiff_errors, found.role_accuracy) == (0, 0, 1.0)
    assert (found.ratio.apart, found.num_rounds.same) == (0, 1)


@given(annotations(), annotations())
def test_exchanging_the_two_mirrors_the_measures(first: Annotation, second: Annotation) -> None:
    there, back = agreement(first, second, LINES), agreement(second, first, LINES)
    assert there.boundaries.precision == back.boundaries.recall
    assert there.role_accuracy == back.role_accuracy
    assert (there.ratio.first, there.ratio.apart) == (back.ratio.second, back.ratio.apart)


@given(annotations(), annotations())
def test_measures_stay_in_their_bounds(first: Annotation, second: Annotation) -> None:
    found = agreement(first, second, LINES)
    assert found.pk_errors <= found.windowdiff_errors <= found.num_windows
    assert sum(found.roles) == NUM_LINES
    for matches in (found.boundaries, found.edges, found.ancestors):
        assert 0 <= matches.both <= min(matches.first, matches.second)
    assert found.boundaries.first == len(step_starts(first)) - 1


@given(st.lists(st.tuples(annotations(), annotations()), max_size=4))
def test_counts_add_up_over_traces(pairs: list[tuple[Annotation, Annotation]]) -> None:
    parts = [agreement(*pair, LINES) for pair in pairs]
    total = sum(parts, Agreement())
    assert total.num_traces == len(pairs)
    assert total.edges.both == sum(part.edges.both for part in parts)
    assert sum(total.roles) == NUM_LINES * len(pairs)
    assert json.loads(json.dumps(total.as_dict()))["num_traces"] == len(pairs)


def test_a_missed_boundary_costs_recall_and_one_window() -> None:
    found = agreement(cut(1, 3, 5), cut(1, 5), LINES[:8])
    assert found.boundaries == Matches(both=1, first=2, second=1)
    assert (found.boundaries.precision, found.boundaries.recall) == (1.0, 0.5)
    assert (found.num_windows, found.pk_errors, found.windowdiff_errors) == (7, 1, 1)


def test_windowdiff_sees_the_second_boundary_of_a_window_that_pk_does_not() -> None:
    found = agreement(cut(1, 5), cut(1, 4, 5), LINES[:8])
    assert found.num_windows == 6  # of two lines
    assert (found.pk_errors, found.windowdiff_errors) == (1, 2)


def test_edges_are_compared_between_the_steps_that_share_most_lines() -> None:
    fine = cut(1, 3, 5, parents=((), (1,), (2,)))
    coarse = cut(1, 5, parents=((), (1,)))
    assert agreement(fine, coarse, LINES[:8]).edges == Matches(1, 1, 1)  # 1 -> 2 lies inside one step
    loose = cut(1, 5)
    assert agreement(fine, loose, LINES[:8]).edges == Matches(0, 1, 0)


def test_ancestors_forgive_an_edge_that_goes_through_another_step() -> None:
    chain = cut(1, 3, 5, parents=((), (1,), (2,)))
    spelled_out = cut(1, 3, 5, parents=((), (1,), (1, 2)))
    found = agreement(chain, spelled_out, LINES[:8])
    assert found.edges.precision == pytest.approx(2 / 3)
    assert found.ancestors.f1 == 1.0


def test_kappa_counts_only_what_chance_does_not_explain() -> None:
    planned = Annotation((StepLines(LineRange(1, 5), LineRange(6, 10), "do it"),), ((),))
    halfway = Annotation((StepLines(LineRange(1, 7), LineRange(8, 10), "do it"),), ((),))
    found = agreement(planned, halfway, LINES[:10])
    assert found.role_accuracy == pytest.approx(0.8)
    assert found.role_kappa == pytest.approx((0.8 - 0.5) / 0.5)


def test_an_annotation_that_cannot_be_followed_is_not_compared() -> None:
    with pytest.raises(UnusableAnnotation):
        agreement(cut(1, 3), cut(1, 3, num_lines=9), LINES[:8])


def test_nothing_measured_is_none_and_not_zero() -> None:
    found = Agreement()
    measures = (found.boundaries.f1, found.edges.precision, found.pk, found.windowdiff, found.role_kappa)
    assert set(measures) == {None}
