"""Outputs of other systems: read, counted and graded; whatever does not follow its form is counted and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.cli import main
from sprint.config import validate
from sprint.errors import ConfigError, InputError
from sprint.evals.results import Result, read_results
from sprint.files import write_jsonl
from sprint.imports.config import ImportConfig
from sprint.imports.forks import critical_tokens, parse, read_forks
from sprint.imports.run import import_run
from sprint.imports.written import MalformedOutput
from sprint.tasks import Grade
from sprint.usage import Usage

PUBLISHED = {  # of this project's names, those of the published counts
    "paper_sequential_tokens": "paper_formula",
    "code_sequential_tokens": "code_formula",
    "generated_tokens": "generated_raw",
}


def imported(config: dict[str, Any]) -> list[Result]:
    return import_run(validate(ImportConfig, config, "options"))


# --- SPRINT's own form -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Result]]:
    """The 60 + 60 published outputs of both methods, by `sprint import` as a user runs it."""
    folder, reference = tmp_path_factory.mktemp("runs"), reference_data / "reference"
    tokenizer = str(reference_data / "tokenizer" / "qwen.tiktoken")
    for form, name, prefix in (("sprint", "sprint", "sprint-"), ("sequential", "rft", "sprint-rft-")):
        words = ["import", form, str(reference / f"published_{name}_outputs.jsonl"), "--tokenizer", tokenizer]
        words += ["--id-prefix", prefix, "--label", name, "--task", "math500", "--out", str(folder / f"{name}.jsonl")]
        assert main(words) == 0
    return {name: read_results(folder / f"{name}.jsonl") for name in ("sprint", "rft")}


def test_published_outputs_have_the_published_counts(published: dict[str, list[Result]], reference_data: Path) -> None:
    lines = (reference_data / "reference" / "expected_token_counts.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {row["id"].removeprefix("sprint-"): row for row in map(json.loads, lines)}
    assert len(published["sprint"]) == len(expected) == 60
    for result in published["sprint"]:
        assert result.usage is not None
        for ours, theirs in PUBLISHED.items():
            assert getattr(result.usage, ours) == expected[result.id][theirs], (result.id, ours)


def test_published_outputs_of_both_methods_can_be_paired(published: dict[str, list[Result]]) -> None:
    ids = [[result.id for result in published[name]] for name in ("sprint", "rft")]
    assert sorted(ids[0]) == sorted(ids[1])
    assert {result.level for result in published["sprint"]} == set("12345")


def test_published_outputs_are_graded_and_graders_disagree(published: dict[str, list[Result]]) -> None:
    right = {name: sum(result.is_correct for result in run) for name, run in published.items()}
    exact = {name: sum(result.other_grades["exact"] for result in run) for name, run in published.items()}
    assert (right, exact) == ({"sprint": 54, "rft": 43}, {"sprint": 50, "rft": 40})
    lenient = sum(result.other_grades["box or statement"] for result in published["rft"])
    assert lenient == 51  # 12 of these texts end without a box; 8 of them say what the answer is


def test_each_count_of_a_round_is_at_most_the_next(published: dict[str, list[Result]]) -> None:
    for result in published["sprint"]:
        usage = result.usage
        assert usage is not None
        assert usage.pipelined_tokens <= usage.barrier_tokens
        assert usage.barrier_tokens <= usage.generated_tokens + 8 * usage.num_rounds  # segments are encoded one by one


# --- forks and joins -------------------------------------------------------------------------------------------------

PARALLEL = "abc<Parallel>\n<Path>12345</Path>\n<Path>1</Path>\n</Parallel><Summary>x</Summary> Final Answer: 8"
MULTIVERSE = (
    "ab<Parallel><Goal><Outline> 1: x </Outline></Goal><Path> 1: 12<Parallel><Path>3</Path><Path>45</Path></Parallel>6"
    "</Path><Path> 2: </Path><Conclusion>z</Conclusion></Parallel>end"
)
THREADS = "a<Parallel><Outlines>o</Outlines><Thread>1: long</Thread><Thread>2</Thread></Parallel></think>\\boxed{5}"


def test_a_fork_costs_its_longest_branch() -> None:
    usage = read_forks(PARALLEL, len, "Path").usage
    before, first, second = "abc<Parallel>\n", "<Path>12345</Path>", "<Path>1</Path>"
    after = PARALLEL.replace(before, "").replace(first, "").replace(second, "")
    assert usage.pipelined_tokens == usage.barrier_tokens == len(before) + len(first) + len(after)
    assert usage.paper_sequential_tokens == len(before) + len(first)
    assert usage.generated_tokens == len(PARALLEL)
    assert usage.join_prefill_tokens == len(first) + len(second)
    assert (usage.num_rounds, usage.num_executions, usage.code_sequential_tokens) == (1, 2, None)


def test_forks_within_branches_are_waited_for_too() -> None:
    usage = read_forks(MULTIVERSE, len, "Path").usage
    shorter = len("<Path>3</Path>") + len("<Path> 2: </Path>")
    assert usage.pipelined_tokens == len(MULTIVERSE) - shorter
    assert (usage.num_rounds, usage.num_executions) == (1, 4)


def test_threads_are_branches_by_another_name() -> None:
    usage = read_forks(THREADS, len, "Thread").usage
    assert usage.pipelined_tokens == len(THREADS) - len("<Thread>2</Thread>")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Path>x</Path>", "<Path> is out of place"),
        ("<Parallel><Parallel>", "<Parallel> is out of place"),
        ("</Parallel>", "</Parallel> is out of place"),
        ("<Parallel><Path>x</Parallel>", "</Parallel> is out of place"),
        ("<Parallel><Path>x", "<Path> is never closed"),
        ("<Parallel>", "<Parallel> is never closed"),
        ("<Parallel><Thread>x</Thread></Parallel>", "a parallel block holds no branch"),
        ("<Parallel><Path>" * 5000, "nested too deep"),
    ],
)
def test_tags_that_do_not_nest_are_named(text: str, message: str) -> None:
    with pytest.raises(MalformedOutput, match=message):
        read_forks(text, len, "Path")


@st.composite
def forked(draw: st.DrawFn, depth: int = 2) -> str:
    pieces = draw(st.lists(st.text("ab \n", max_size=4), min_size=1, max_size=3))
    for index in range(len(pieces) if depth else 0):
        branches = draw(st.lists(forked(depth=depth - 1), min_size=1, max_size=3))
        pieces[index] += "<Parallel>g" + "".join(f"<Path>{branch}</Path>" for branch in branches) + "c</Parallel>"
    return "".join(pieces)


@settings(max_examples=40)
@given(forked())
def test_no_character_of_an_output_is_lost_or_counted_twice(text: str) -> None:
    usage = read_forks(text, len, "Path").usage
    sequential = usage.generated_tokens - usage.join_prefill_tokens
    assert sequential <= usage.pipelined_tokens == critical_tokens(parse(text, "Path"), len) <= len(text)


def test_the_parallel_outputs_of_another_group_are_read(reference_data: Path, tmp_path: Path) -> None:
    results = imported(
        {
            "format": "parallel",
            "file": reference_data / "reference" / "parallel_path_format.jsonl",
            "tokenizer": str(reference_data / "tokenizer" / "qwen.tiktoken"),
            "out": tmp_path / "run.jsonl",
        }
    )
    rows = (reference_data / "reference" / "parallel_path_format.jsonl").read_text(encoding="utf-8").splitlines()
    for result, row in zip(results, map(json.loads, rows), strict=True):
        assert result.usage is not None
        assert (result.usage.num_rounds, result.usage.num_executions) == (row["n_parallel"], row["n_path"])
        assert result.is_correct is row["correct"]
        assert (result.usage.pipelined_tokens < result.usage.generated_tokens) is (row["n_parallel"] > 0)


# --- files -----------------------------------------------------------------------------------------------------------


def given_rows(tmp_path: Path, *rows: dict[str, Any], **config: Any) -> dict[str, Any]:
    write_jsonl(tmp_path / "rows.jsonl", rows)
    known = {"file": tmp_path / "rows.jsonl", "out": tmp_path / "run.jsonl", "tokenizer": "bytes"}
    return {"format": "sequential", **known, **config}


def test_an_output_not_of_its_form_is_kept_and_counted_as_sequential(tmp_path: Path, capsys: Any) -> None:
    rows = [{"id": n, "question": "q", "answer": "5", "text": text} for n, text in enumerate((PARALLEL, THREADS))]
    first, second = imported(given_rows(tmp_path, *rows, format="threadweaver"))
    assert (first.stop_reason, second.stop_reason) == ("malformed", "imported")
    assert first.usage == Usage(
        paper_sequential_tokens=len(PARALLEL),
        code_sequential_tokens=len(PARALLEL),
        pipelined_tokens=len(PARALLEL),
        barrier_tokens=len(PARALLEL),
        generated_tokens=len(PARALLEL),
        cached_prompt_tokens=None,
    )
    assert "not of the form threadweaver" in first.error
    assert second.is_correct
    assert "2 outputs of threadweaver, 1 right; 1 not of the format" in capsys.readouterr().out


def test_a_round_without_its_execution_is_malformed(tmp_path: Path) -> None:
    text = (
        "<Plan_1>\n<prompt_1.1> x </prompt_1.1>\n</Plan_1>\n\n<Execution_1>\nNo prompt to execute.\n</Execution_1>\n5"
    )
    (result,) = imported(given_rows(tmp_path, {"id": 1, "question": "q", "answer": "5", "text": text}, format="sprint"))
    assert result.stop_reason == "malformed"


def test_samples_of_one_problem_are_numbered_and_columns_mapped(tmp_path: Path) -> None:
    rows = [{"key": "x-1", "q": "1+1?", "gold": "2", "written": f"\\boxed{{{n}}}"} for n in (2, 3)]
    columns = {"id": "key", "question": "q", "answer": "gold", "text": "written"}
    results = imported(given_rows(tmp_path, *rows, columns=columns, id_prefix="x-", label="L", model="M"))
    assert [(result.id, result.sample, result.grade) for result in results] == [
        ("1", 1, Grade.CORRECT),
        ("1", 2, Grade.WRONG_VALUE),
    ]
    assert read_results(tmp_path / "run.jsonl") == results


def test_a_benchmark_may_grade_an_import(tmp_path: Path) -> None:
    row = {"id": 1, "numbers": [3, 5, 7], "target": 22, "text": "so \\boxed{7+3*5}"}
    (result,) = imported(given_rows(tmp_path, row, benchmark="countdown"))
    assert (result.grade, result.grader, result.level) == (Grade.CORRECT, "countdown", "3")


@pytest.mark.parametrize(
    ("rows", "config", "message"),
    [
        (
            [{"id": 1, "question": "q", "answer": "1", "text": "t"}],
            {"format": "tree"},
            "unknown format 'tree', expected",
        ),
        ([], {}, "holds no rows"),
        ([{"id": 1, "question": "q", "answer": "1"}], {}, "row 1: none of text, output, reasoning is a text"),
        ([{"id": 1, "question": "q", "text": "t"}], {}, "row 1: 'answer' is None"),
        ([{"id": 1}], {"tokenizer": "absent.tiktoken"}, "absent.tiktoken is not a readable"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path: Path, rows: Any, config: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        imported(given_rows(tmp_path, *rows, **config))
    assert not (tmp_path / "run.jsonl").exists()


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    config = given_rows(tmp_path, {"id": 1, "question": "q", "answer": "1", "text": "\\boxed{1}"})
    imported(config)
    with pytest.raises(ConfigError, match="already exists"):
        imported(config)
