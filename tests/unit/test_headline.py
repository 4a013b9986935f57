"""The short table for a README, and the table on a terminal: nothing is cut, and every number has its files."""

import hashlib
from pathlib import Path

import pytest

from sprint.evals.comparison import compare
from sprint.evals.config import ReportConfig
from sprint.evals.report import report
from sprint.evals.summary import summarise
from sprint.evals.table import print_table
from tests.unit.evaluated import results, write


def test_the_headline_names_its_files_by_their_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft")]
    options = {"runs": files, "out": tmp_path / "report.html", "headline": True}
    report(ReportConfig.model_validate(options))
    said = capsys.readouterr().out
    assert "\n| mean per problem | sprint | rft | sprint / rft |\n| --- | --- | --- | --- |\n" in said
    assert "\n| pipelined | 5" in said
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in said


def test_every_row_of_the_headline_has_a_cell_for_each_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft", "a|b", "other")]
    report(ReportConfig.model_validate({"runs": files, "out": tmp_path / "r.html", "headline": True}))
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(table) > 8
    assert {line.replace("\\|", "").count("|") for line in table} == {1 + 1 + 4 + 3}


def test_without_the_option_no_headline_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rft.jsonl", results("rft"))
    report(ReportConfig.model_validate({"runs": [file], "out": tmp_path / "report.html"}))
    assert "| --- |" not in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2, 9])
def test_no_cell_of_a_table_is_cut_however_many_runs_there_are(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [results(f"a run with a long name {number}") for number in range(count)]
    print_table([summarise(run) for run in runs], [compare(run, runs[0]) for run in runs[1:]])
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 120
    for run in runs:
        assert run[0].label in said
    assert said.count("\naccuracy ") >= -(-count // 3)
