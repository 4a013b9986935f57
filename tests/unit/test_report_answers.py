"""What the report says of answers, graders and costs, and which runs nothing beats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sprint.evals.cost import cost
from sprint.evals.failures import gallery, kind_of
from sprint.evals.findings import votes
from sprint.evals.grading import disagreements, grader_rows
from sprint.evals.pareto import frontier, points
from sprint.evals.repeats import Votes
from sprint.evals.summary import summarise
from sprint.requests import Prices
from sprint.tasks import Grade
from sprint.usage import Usage
from tests.unit.evaluated import report_text, results, write, wrong

# --- answers ---------------------------------------------------------------------------------------------------------


def test_wrong_answers_vote_together_when_they_are_equal() -> None:
    (right,) = results("sprint", 1)
    samples = [right, wrong(right, "\\boxed{0.50}"), wrong(right, "\\boxed{\\frac12}"), wrong(right, "no idea")]
    assert votes(samples) == Votes(1, (2,), 1)


def test_several_samples_have_their_table_and_one_sample_has_none(run_files: list[Path], tmp_path: Path) -> None:
    assert "maj@k" not in report_text(*run_files)
    many = [replace(wrong(r) if i == 1 else r, sample=i) for i in (1, 2, 3) for r in results("many")]
    text = report_text(*run_files, write(tmp_path / "many.jsonl", many))
    assert "maj@k" in text
    assert "60 samples" in text


def test_what_is_cached_is_charged_as_cached_and_what_is_not_known_in_full() -> None:
    usage = Usage(prompt_tokens=1000, cached_prompt_tokens=400, generated_tokens=100)
    prices = Prices(prompt=2.0, output=10.0, cached=0.5)
    found = cost(results("sprint", usage=usage), prices)
    assert found is not None
    assert found.per_sample.value == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    assert found.per_right == pytest.approx(found.per_sample.value)
    unknown = cost(results("sprint", usage=replace(usage, cached_prompt_tokens=None)), prices)
    assert unknown is not None
    assert not unknown.cache_known
    assert unknown.per_sample.value == pytest.approx((1000 * 2 + 100 * 10) / 1e6)
    none_right = cost([wrong(result) for result in results("sprint", usage=usage)], prices)
    assert none_right is not None
    assert none_right.per_right is None


def test_costs_are_shown_only_at_prices_that_were_given(run_files: list[Path]) -> None:
    assert "## Cost" not in report_text(*run_files)
    assert "## Cost" in report_text(*run_files, prices={"prompt": 1, "output": 2})


def test_every_grader_has_its_accuracy_and_what_they_disagree_on_is_listed(tmp_path: Path) -> None:
    made = [
        replace(r, grader="math-verify", other_grades={"exact match": int(r.id) % 4 > 0}) for r in results("sprint")
    ]
    other = [replace(r, grader="math-verify", other_grades={"exact match": True}) for r in results("rft")]
    rows = {(row.grader, row.label): row.accuracy for row in grader_rows([made, other])}
    assert rows["math-verify", "sprint"] == 1.0
    assert rows["exact match", "sprint"] == 0.75
    assert [one.id for one in disagreements(made)] == ["0", "4", "8", "12", "16"]
    text = report_text(write(tmp_path / "a.jsonl", made), write(tmp_path / "b.jsonl", other))
    assert "5 of 5 answers on which two graders disagree" in text


def test_an_answer_that_never_came_is_wrong_for_every_grader() -> None:
    made = [replace(r, other_grades={"exact match": True}) for r in results("sprint", 3)]
    failed = replace(results("sprint", 1)[0], id="x", grade=None, usage=None)
    assert {row.accuracy for row in grader_rows([[*made, failed]])} == {0.75}


def test_the_gallery_shows_each_kind_in_turn_first_what_another_run_solved() -> None:
    mine = results("sprint", 8)
    mine = (
        [wrong(r) for r in mine[:5]]
        + [replace(r, grade=Grade.NO_ANSWER, stop_reason="too_long") for r in mine[5:7]]
        + mine[7:]
    )
    theirs = [r if r.id in ("3", "7") else wrong(r) for r in results("rft", 8)]
    found = gallery(mine, [theirs], 3)
    assert found.kinds == {"wrong value": 5, "no answer, ended by too long": 2}
    assert [(failure.result.id, failure.right_elsewhere) for failure in found.shown] == [
        ("3", ("rft",)),
        ("5", ()),
        ("0", ()),
    ]
    assert gallery(mine, [theirs], 0).shown == ()
    assert kind_of(replace(mine[0], grade=None, usage=None)) == "the call failed"


# --- Pareto ----------------------------------------------------------------------------------------------------------


def test_the_frontier_holds_exactly_what_nothing_beats_on_both() -> None:
    assert frontier([(10, 0.5), (20, 0.9), (30, 0.9), (5, 0.5), (40, 0.95)]) == {1, 3, 4}
    assert frontier([(1, 0.5), (1, 0.5)]) == {0, 1}


def test_a_measure_that_a_run_lacks_has_no_plot() -> None:
    made = [results("sprint"), results("rft", wall_s=0.0)]
    summaries = [summarise(run) for run in made]
    assert points(made, summaries, "wall_alone_s") == []
    assert [point.on_frontier for point in points(made, summaries, "pipelined_tokens")] == [True, False]
