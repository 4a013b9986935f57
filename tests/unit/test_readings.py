"""Which answer of a text counts: the boxed one, or one stated in words too; for grader, votes and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sprint.benchmarks import BOX_OR_STATEMENT, Columns, Sample, get_benchmark
from sprint.config import validate
from sprint.equality import GRADER
from sprint.errors import ConfigError, SprintError
from sprint.evals.config import EvalConfig, ReportConfig
from sprint.evals.findings import votes
from sprint.evals.report import make_report
from sprint.evals.results import read_results
from sprint.evals.scorers import finder
from sprint.locks import sole_writer
from sprint.tasks import Grade
from tests.unit.evaluated import results, write
from tests.unit.scripted_endpoint import ScriptedEndpoint, config_of, guess, run

HALF = Sample("1", "How much?", r"\frac12")
STATED = "Half of it. So the answer is 0.5."


@pytest.mark.parametrize(
    ("text", "boxed", "lenient"),
    [
        (r"\boxed{0.5}", Grade.CORRECT, Grade.CORRECT),
        (STATED, Grade.NO_ANSWER, Grade.CORRECT),
        (r"The answer is 0.5. \boxed{7}", Grade.WRONG_VALUE, Grade.WRONG_VALUE),  # a box goes before words
        ("The answer is 7.", Grade.NO_ANSWER, Grade.WRONG_VALUE),
        ("Half, I think.", Grade.NO_ANSWER, Grade.NO_ANSWER),
    ],
)
def test_an_answer_in_words_counts_where_that_is_asked_for_and_is_recorded_where_not(
    text: str, boxed: Grade, lenient: Grade
) -> None:
    strict, wide = (Columns().score(HALF, text, stated=stated) for stated in (False, True))
    assert (strict.grade, strict.grader) == (boxed, GRADER)
    assert (wide.grade, wide.grader) == (lenient, BOX_OR_STATEMENT)
    assert strict.other_grades[BOX_OR_STATEMENT] == lenient.is_correct
    assert wide.other_grades[GRADER] == boxed.is_correct


def test_a_run_that_reads_words_says_so_in_every_row_and_is_not_gone_on_with_otherwise(tmp_path: Path) -> None:
    config = config_of(tmp_path, grader="box-or-statement")
    summary = run(config, ScriptedEndpoint(lambda body: "The answer is 2."))
    rows = read_results(config.out)
    assert {row.grader for row in rows} == {BOX_OR_STATEMENT}
    assert {row.found for row in rows} == {"2"}
    assert summary.num_correct == sum(row.gold == "2" for row in rows) > 0
    with pytest.raises(ConfigError, match="holds another run"):
        run(config.model_copy(update={"resume": True, "grader": "box"}), ScriptedEndpoint(guess))


def test_a_task_with_a_checker_of_its_own_has_no_choice_of_grader(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="task countdown has its own checker"):
        validate(EvalConfig, {"out": tmp_path / "o", "task": "countdown", "grader": "box-or-statement"}, "here")


@pytest.mark.parametrize(("grader", "elected"), [("box", "\\boxed{9}"), ("box-or-statement", "The answer is 2.")])
def test_votes_are_counted_by_the_answers_that_the_grader_reads(tmp_path: Path, grader: str, elected: str) -> None:
    said = iter(["\\boxed{9}", "The answer is 2.", "So the answer is 2.", "The answer is 2."] * 6)
    config = config_of(tmp_path, method="self-consistency", votes=4, temperature=0.5, grader=grader, concurrency=1)
    run(config, ScriptedEndpoint(lambda body: next(said)))
    assert {row.answer for row in read_results(config.out)} == {elected}


def test_a_line_with_a_letter_votes(tmp_path: Path) -> None:
    config = EvalConfig.model_validate({"out": tmp_path / "o.jsonl", "benchmark": "gpqa", "data": Path("gpqa.csv")})
    assert finder(config)("Hm.\nANSWER: C") == "C"
    assert get_benchmark("gpqa").find("Hm, C.") is None


def test_wrong_answers_in_words_vote_together() -> None:
    said = [replace(one, grade=Grade.WRONG_VALUE, answer=f"x {i}", found="7") for i, one in enumerate(results("a", 3))]
    assert votes(said).wrong == (3,)


def _said(folder: Path, **sampling: Any) -> str:
    plain = [replace(one, sampling={"method": "rft"}) for one in results("rft")]
    other = [replace(one, sampling={"method": "sprint", **sampling}) for one in results("sprint")]
    paths = [write(folder / "a.jsonl", other), write(folder / "b.jsonl", plain)]
    return " ".join(make_report(ReportConfig(runs=paths)).words())


def test_runs_that_were_graded_differently_are_said_to_be(tmp_path: Path) -> None:
    assert "graded alike" not in _said(tmp_path)
    judged = _said(tmp_path, judge="wise")
    assert "sprint: boxed answers only, a second look by judge wise; rft: boxed answers only, no judge" in judged
    assert "sprint: boxed or stated answers, no judge" in _said(tmp_path, grader="box-or-statement")


def test_of_several_comparisons_it_is_said_which_figures_are_corrected(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "base", "rft")]
    assert "not widened for 2 comparisons" in " ".join(make_report(ReportConfig(runs=paths)).words())
    assert "not widened" not in " ".join(make_report(ReportConfig(runs=paths[1:])).words())


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    with sole_writer(config.out), pytest.raises(SprintError, match=r"out.jsonl is being written by another run"):
        run(config, ScriptedEndpoint(guess))
    run(config, ScriptedEndpoint(guess))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "out.jsonl"]


def test_a_lock_file_left_behind_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.lock").touch()
    run(config_of(tmp_path), ScriptedEndpoint(guess))
    with pytest.raises(ConfigError):
        run(config_of(tmp_path, method="rft").model_copy(update={"resume": True}), ScriptedEndpoint(guess))
    assert not (tmp_path / "out.jsonl.lock").exists()
