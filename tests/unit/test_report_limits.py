"""What must not be concluded from a report, and is not; and what rows and names can not do to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sprint.errors import InputError
from sprint.evals.comparison import compare
from sprint.evals.config import ReportConfig
from sprint.evals.cost import cost
from sprint.evals.grading import grader_tests
from sprint.evals.page import markdown
from sprint.evals.report import make_report, report
from sprint.evals.results import read_results
from sprint.evals.summary import summarise
from sprint.evals.words import verdict
from sprint.files import write_jsonl
from sprint.requests import Prices
from sprint.tasks import Grade
from sprint.usage import Usage
from tests.unit.evaluated import marked, results, write


def test_where_graders_disagree_on_significance_it_is_said_with_the_accuracy(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{label}.jsonl", marked(label, right, stated))
        for label, right, stated in (("sprint", 54, 54), ("rft", 43, 51))
    ]
    said = make_report(ReportConfig(runs=paths)).words()[0]
    assert "The difference is significant at the 5 % level" in said
    assert "But graders disagree on that" in said
    assert "significant under 'equivalence' (90.0 % against 71.7 %" in said
    assert "not under 'box or statement' (90.0 % against 85.0 %, p = 0.25)" in said
    assert "Of sprint 6 and of rft 17 answers stand in no box." in said
    agreeing = [
        write(tmp_path / "a.jsonl", marked("sprint", 54, 54)),
        write(tmp_path / "b.jsonl", marked("rft", 43, 43)),
    ]
    assert "graders disagree" not in " ".join(make_report(ReportConfig(runs=agreeing)).words())


def test_a_grader_that_saw_only_the_doubtful_answers_is_no_test_and_the_grades_that_count_come_first() -> None:
    run = marked("sprint", 50, 50)
    judged = [
        replace(one, grade=Grade.CORRECT, grader="judge w", other_grades={"equivalence": False}) if place >= 55 else one
        for place, one in enumerate(run)
    ]
    tests = grader_tests(judged, marked("rft", 43, 43))
    assert [(one.grader, round(60 * one.shares[0])) for one in tests] == [
        ("equivalence and judge w", 55),
        ("equivalence", 50),
    ]


@pytest.mark.parametrize("method", ["sequential", "base"])
def test_every_sequential_method_may_be_the_baseline_and_the_taught_one_goes_first(tmp_path: Path, method: str) -> None:
    other = write(tmp_path / "other.jsonl", results("other", method=method))
    sprint, rft = (write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft"))
    assert make_report(ReportConfig(runs=[other, sprint])).baseline == 0
    assert make_report(ReportConfig(runs=[other, sprint, rft])).baseline == 2


def test_few_problems_are_never_called_significant() -> None:
    (_, tokens, *_) = verdict(compare(results("sprint", 1), results("rft", 1)))
    assert "1 problems are too few to call that significant" in tokens
    assert "significantly" not in tokens


def test_a_clock_is_shown_with_the_number_of_problems_it_was_on_for(tmp_path: Path) -> None:
    runs = [[replace(one, concurrency=1 + 7 * (i >= 9)) for i, one in enumerate(results(x))] for x in ("sprint", "rft")]
    paths = [write(tmp_path / f"{run[0].label}.jsonl", run) for run in runs]
    shown = markdown(make_report(ReportConfig(runs=paths)))
    (card,) = (line for line in shown.splitlines() if "wall seconds, alone" in line and line.startswith("- "))
    assert card.endswith("n = 9)")
    assert "asked one at a time (n = 9)" in shown


def test_what_an_import_does_not_know_is_a_dash_and_its_cost_says_so() -> None:
    usage = Usage(pipelined_tokens=5, generated_tokens=5, cached_prompt_tokens=None)
    run = [replace(one, usage=usage) for one in results("rft")]
    counters = summarise(run).counters
    assert {counters[name] for name in ("prompt_tokens", "num_calls", "runtime_tokens")} == {None}
    found = cost(run, Prices(1.0, 1.0))
    assert found is not None
    assert not found.prompts_known


@pytest.mark.parametrize(
    ("key", "value"),
    [("level", 5), ("answer", None), ("concurrency", "x"), ("wall_s", float("nan")), ("usage", [1]),
     ("usage", {"wall_s": None}),
     ("usage", {"pipelined_tokens": float("inf")}), ("usage", {"prompt_tokens": -1}), ("timeline", [1]),
     ("timeline", [{"kind": "plan"}]), ("other_grades", []), ("other_grades", {"a": 1}), ("sample", [1])],
)  # fmt: skip
def test_a_row_of_other_kinds_is_refused_in_a_sentence(tmp_path: Path, key: str, value: Any) -> None:
    rows = [one.as_row() for one in results("sprint", 2)]
    rows[1][key] = value
    write_jsonl(tmp_path / "run.jsonl", rows)
    with pytest.raises(InputError, match=r"row 2 is not an evaluation result|line 2 is not an evaluation result"):
        read_results(tmp_path / "run.jsonl")


def test_half_a_surrogate_pair_and_orders_to_a_terminal_do_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = results("a\x1b[2J", 1)[0].as_row() | {"answer": "\ud800", "question": "\ud800", "level": "\ud800"}
    (tmp_path / "run.jsonl").write_text(json.dumps(row) + "\n")
    report(ReportConfig(runs=[tmp_path / "run.jsonl"], out=tmp_path / "page.html"))
    assert "\x1b" not in capsys.readouterr().out
