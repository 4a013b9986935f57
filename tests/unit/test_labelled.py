"""Laws of packing on real dependency graphs, and of the measure that compares an annotator's edges with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.labelled import Labelled, compare, edge_precision_recall, lifted, read_labelled
from sprint import dag, rounds
from sprint.lines import split
from sprint.rules import RulesAnnotator
from sprint.types import Annotation, LineRange, Step, StepLines


@pytest.fixture(scope="module")
def graphs(reference_data: Path) -> list[Labelled]:
    return read_labelled(reference_data / "reference" / "labelled_dependencies.jsonl")


def _steps(graph: Labelled, plans_every: int) -> tuple[Step, ...]:
    """Each chunk as a step; every so many only plan."""
    return tuple(
        Step(index, chunk, "" if index % plans_every == 0 else chunk, "do it", parents)
        for index, (chunk, parents) in enumerate(zip(graph.chunks, graph.parents, strict=True), 1)
    )


@pytest.mark.parametrize("plans_every", [2, 3, 1_000])
def test_a_step_runs_after_every_ancestor_that_runs_and_never_before_one_that_plans(
    graphs: list[Labelled], plans_every: int
) -> None:
    for graph in graphs:
        steps = _steps(graph, plans_every)
        runs = rounds.rounds_of(steps)
        for step, ancestors in zip(steps, dag.ancestors(graph.parents), strict=True):
            assert all(runs[index] + bool(steps[index - 1].execution) <= runs[step.index] for index in ancestors)


@pytest.mark.parametrize("plans_every", [2, 3, 1_000])
def test_there_are_no_more_rounds_than_the_longest_chain_of_steps_that_run(
    graphs: list[Labelled], plans_every: int
) -> None:
    for graph in graphs:
        steps = _steps(graph, plans_every)
        longest = dag.longest_path(graph.parents, [bool(step.execution) for step in steps])
        assert longest <= len(rounds.by_round(steps)) <= longest + 1  # plans at the end may have a round of their own


def test_every_label_points_back(graphs: list[Labelled]) -> None:
    assert len(graphs) == 20
    assert all(dag.bad_parent(graph.parents) is None for graph in graphs)


# --- edges -----------------------------------------------------------------------------------------------------------


class _Unconnected:
    """The steps of the rules, without a dependency."""

    def annotate(self, question: str, trace_lines: list[str]) -> Annotation:
        steps = RulesAnnotator().annotate(question, trace_lines).steps
        return Annotation(steps, ((),) * len(steps))


def test_labels_become_edges_between_the_steps_that_hold_their_chunks() -> None:
    graph = Labelled("", ("One.", "Two. Three.", "Four."), ((), (1,), (1, 2)))
    lines = split(graph.text)
    assert lines == ["One.\n", "Two. ", "Three.\n", "Four."]
    apart = tuple(StepLines(None, LineRange(first, last)) for first, last in [(1, 1), (2, 3), (4, 4)])
    assert lifted(graph, Annotation(apart, ((),) * 3), lines) == ((), (1,), (1, 2))
    joined = tuple(StepLines(LineRange(first, last), None) for first, last in [(1, 2), (3, 4)])
    assert lifted(graph, Annotation(joined, ((),) * 2), lines) == ((), (1,))


def test_direct_edges_and_who_depends_on_whom_are_compared() -> None:
    chain, star = ((), (1,), (2,)), ((), (1,), (1,))
    found = compare(chain, star)
    assert (found.direct.precision, found.direct.recall) == (0.5, 0.5)
    assert (found.closure.precision, found.closure.recall) == (1.0, pytest.approx(2 / 3))
    assert compare(chain, chain).closure.f1 == 1.0


def test_the_rules_find_most_labelled_dependencies_and_no_edges_find_none(graphs: list[Labelled]) -> None:
    found = edge_precision_recall(graphs, RulesAnnotator())
    none = edge_precision_recall(graphs, _Unconnected())
    scores = [
        score for matches in (found.direct, found.closure) for score in (matches.precision, matches.recall, matches.f1)
    ]
    assert all(score is not None and 0 <= score <= 1 for score in scores)
    assert none.closure.recall == 0
    assert (found.closure.recall or 0) > 0.4
    assert (found.closure.precision or 0) > 0.7
