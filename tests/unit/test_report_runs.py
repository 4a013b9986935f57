"""What runs are compared, how, and what is called significant."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sprint.config import validate
from sprint.errors import ConfigError, InputError
from sprint.evals.comparison import compare
from sprint.evals.config import ReportConfig
from sprint.evals.report import make_report, report
from sprint.evals.results import read_results
from sprint.evals.runs import read_run, read_runs
from sprint.evals.sections.overview import paper_table
from sprint.evals.summary import accuracy_bootstrap, summarise
from sprint.evals.table import lines, number, saved
from sprint.evals.words import verdict
from sprint.usage import Usage
from tests.unit.evaluated import results, write, wrong

# --- files and runs --------------------------------------------------------------------------------------------------


def test_a_result_survives_the_file(tmp_path: Path) -> None:
    made = results("sprint", level="3", other_grades={"exact match": True}, sample=2)
    assert read_results(write(tmp_path / "r.jsonl", made)) == made


def test_every_number_traces_to_a_file_by_its_hash(reported: Path) -> None:
    for label, run in zip(("sprint", "rft"), json.loads((reported / "page.json").read_text())["runs"], strict=True):
        path = reported / f"{label}.jsonl"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert run["files"] == [{"path": str(path), "sha256": digest, "num_rows": 20, "seeds": [0]}]
        for name in ("page.html", "page.md"):
            assert digest in (reported / name).read_text()
            assert path.name in (reported / name).read_text()


def test_every_drawing_and_table_names_its_sources_and_its_n(reported: Path) -> None:
    text = (reported / "page.html").read_text()
    drawn = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    tables = re.findall(r"</table></div><p class=fine>(.*?)</p>", text)
    assert (len(drawn), len(tables)) == (text.count("<figure>"), text.count("<table>"))
    assert all("href='#run-" in caption for caption in drawn + tables)
    assert all(re.search(r"\bn = [0-9]|\bn under each bin", caption) for caption in drawn)


def test_files_with_other_seeds_are_samples_of_one_run(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.jsonl", results("sprint", seed=seed)) for seed in (0, 1)]
    (run,) = read_runs(paths)
    assert [file.seeds for file in run.files] == [(0,), (1,)]
    summary = summarise(run.results)
    assert (summary.num_problems, summary.num_samples) == (20, 40)


def test_the_same_sample_twice_is_refused(tmp_path: Path) -> None:
    made = results("sprint", 2)
    with pytest.raises(InputError, match="holds sample 1 of problem '0' twice"):
        read_run(write(tmp_path / "r.jsonl", [*made, made[0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "holds no results"),
        ('{"id": "1"}\n', "row 1 is not an evaluation result"),
        ("{broken\n", "line 1 is broken JSON"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "run.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        make_report(ReportConfig(runs=[path]))


def test_runs_that_cannot_be_compared_are_refused(run_files: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", results("other", task="countdown"))
    with pytest.raises(InputError, match="expected one task"):
        make_report(ReportConfig(runs=[run_files[0], other]))
    with pytest.raises(InputError, match="both labelled"):
        make_report(ReportConfig(runs=[run_files[0], run_files[0]]))
    with pytest.raises(InputError, match="share no problem"):
        compare(results("sprint"), results("rft", id="elsewhere"))
    with pytest.raises(InputError, match="different questions"):
        compare(results("sprint"), results("rft", question="another"))
    with pytest.raises(InputError, match="baseline is 'gpt', expected the label of a run: sprint, rft"):
        make_report(ReportConfig(runs=run_files, baseline="gpt"))
    with pytest.raises(ConfigError, match=r"ending in \.html"):
        report(ReportConfig(runs=run_files, out=tmp_path / "page.pdf"))


@pytest.mark.parametrize("edges", [[1.0, 2.0], [0.0, 5.0, 5.0], [3.0, 2.0, 1.0]])
def test_edges_that_make_no_bins_are_refused(edges: list[float]) -> None:
    with pytest.raises(ConfigError, match="at least three edges, each above the one before"):
        validate(ReportConfig, {"runs": ["a"], "bin_edges": edges}, "options")


# --- comparison ------------------------------------------------------------------------------------------------------


def test_the_sequential_run_is_the_baseline_whatever_the_order(run_files: list[Path]) -> None:
    for order in (run_files, run_files[::-1]):
        comparison = make_report(ReportConfig(runs=order)).comparisons[0]
        assert (comparison.label, comparison.baseline) == ("sprint", "rft")
    asked = make_report(ReportConfig(runs=run_files, baseline="sprint")).comparisons[0]
    assert (asked.label, asked.baseline) == ("rft", "sprint")


def test_one_run_alone_has_a_page_without_comparison(run_files: list[Path], tmp_path: Path) -> None:
    result = report(ReportConfig(runs=run_files[:1], out=tmp_path / "page.html"))
    assert result.comparisons == []
    assert result.savings == []


def test_only_problems_that_both_answered_are_paired() -> None:
    mine = results("sprint")
    mine[0] = results("sprint", 1, usage=None, grade=None)[0]
    comparison = compare(mine, results("rft", 15))
    assert (comparison.num_pairs, comparison.num_shared) == (14, 15)
    assert (comparison.better, comparison.worse) == (0, 1)


def test_the_two_clocks_are_kept_apart_and_no_clock_is_no_time() -> None:
    alone, busy = results("sprint", 4, wall_s=1.0, concurrency=1), results("sprint", 6, wall_s=5.0, concurrency=8)
    busy = [replace(result, id=f"busy {result.id}") for result in busy]
    counters = summarise([*alone, *busy]).counters
    assert (counters["wall_alone_s"], counters["wall_s"]) == (1.0, 5.0)
    slower = [replace(result, label="rft", wall_s=2 * result.wall_s) for result in (*alone, *busy)]
    ratio = compare([*alone, *busy], slower).ratios["wall_alone_s"]
    assert ratio is not None
    assert ratio.value == 0.5
    assert compare(busy, slower).ratios["wall_alone_s"] is None
    imported = summarise(results("sprint", wall_s=0.0)).counters
    assert imported["wall_s"] is imported["wall_alone_s"] is None


def test_runs_that_never_differ_are_not_called_equal_to_a_point() -> None:
    comparison = compare(results("sprint", 60), results("rft", 60))
    assert comparison.accuracy.interval.low == comparison.accuracy.interval.high == 0.0
    assert comparison.accuracy_interval.low < -0.04
    assert comparison.accuracy_interval.high > 0.04
    (said, *_) = verdict(comparison)
    assert "sprint 100.0 %, rft 100.0 %" in said
    assert "is not significant at the 5 % level (exact McNemar test" in said


def test_a_real_difference_is_called_significant_and_a_corrected_one_is_not() -> None:
    bad = [wrong(r) if int(r.id) < 8 else r for r in results("rft")]
    comparison = compare(results("sprint"), bad)
    assert comparison.is_significant
    assert "The difference is significant at the 5 % level" in verdict(comparison)[0]
    corrected = replace(comparison, p_adjusted=0.2)
    assert "is not significant" in verdict(corrected, 3)[0]
    assert "Holm's correction for 3 comparisons p = 0.2" in verdict(corrected, 3)[0]


def test_several_comparisons_are_corrected_for_being_several(run_files: list[Path], tmp_path: Path) -> None:
    bad = [wrong(r) if int(r.id) < 6 else r for r in results("bad")]
    worse = [wrong(r) if int(r.id) < 8 else r for r in results("worse")]
    paths = [*run_files, write(tmp_path / "bad.jsonl", bad), write(tmp_path / "worse.jsonl", worse)]
    found = {one.label: one for one in make_report(ReportConfig(runs=paths)).comparisons}
    assert found["worse"].p_adjusted == pytest.approx(3 * found["worse"].p_value)
    assert found["bad"].p_adjusted == pytest.approx(2 * found["bad"].p_value)
    assert found["bad"].p_value < 0.05 < found["bad"].p_adjusted


def test_every_problem_weighs_the_same_however_many_samples_it_has() -> None:
    once = results("sprint", 2)
    many = [once[0], *(wrong(replace(once[1], sample=i)) for i in range(1, 9))]
    summary = summarise(many)
    assert summary.accuracy == 0.5
    around = accuracy_bootstrap(many)
    assert (around.low, around.high) == (0.0, 1.0)
    assert compare(many, results("rft", 2)).test == "exact sign-flip test over problems"


def test_the_papers_table_has_a_row_for_each_run_and_compares_all_but_the_baseline(run_files: list[Path]) -> None:
    table = paper_table(make_report(ReportConfig(runs=run_files)))
    assert [row.cells[0] for row in table.rows] == ["sprint", "rft"]
    assert all(len(row.cells) == len(table.heads) for row in table.rows)
    assert re.fullmatch(r"4\d\.\d % \[4\d\.\d to 5\d\.\d\]", table.rows[0].cells[table.heads.index("saved")])
    assert table.rows[1].cells[-2:] == ("", "")


def test_what_is_not_reported_is_a_dash_and_never_zero() -> None:
    usage = Usage(pipelined_tokens=5, generated_tokens=5, cached_prompt_tokens=None, prompt_tokens=10)
    table = {line.name: line.cells for line in lines([summarise(results("rft", usage=usage))], [])}
    assert table["prompt, cached"] == table["prefix hit rate"] == ("–",)
    assert "prompt, computed" not in table
    assert number(0.0) == "0"
    assert number(-1234.0) == "\u22121,234"
    assert saved(None) == "–"
