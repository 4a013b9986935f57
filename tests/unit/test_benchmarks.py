"""Benchmarks: their rows, their graders, the files they are read from, and the refusals."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sprint.benchmarks import Benchmark, Columns, benchmark_names, get_benchmark, load
from sprint.benchmarks.base import text_of
from sprint.benchmarks.source import hub_rows
from sprint.config import validate
from sprint.errors import ConfigError, InputError
from sprint.evals.config import EvalConfig
from sprint.evals.scorers import samples, scorer, source_name
from sprint.files import write_jsonl
from sprint.tasks import Grade

GPQA_ROW = {
    "Record ID": "rec1",
    "Question": "Which gas is lightest?",
    "Correct Answer": "hydrogen",
    "Incorrect Answer 1": "helium",
    "Incorrect Answer 2": "neon\n",
    "Incorrect Answer 3": "argon",
    "Subdomain": "Chemistry (general)",
}


def grade(name: str, row: dict[str, Any], text: str) -> Grade:
    benchmark = get_benchmark(name)
    sample = benchmark.sample(row, "row 1", 0)
    assert sample is not None
    return benchmark.score(sample, text).grade


# --- math and contests -----------------------------------------------------------------------------------------------


def test_math500_knows_levels_and_subjects(reference_data: Path) -> None:
    found = load(get_benchmark("math500"), reference_data / "benchmarks" / "math500.jsonl")
    assert len(found) == 500
    assert Counter(sample.level for sample in found) == {"1": 43, "2": 90, "3": 105, "4": 128, "5": 134}
    assert len({sample.subject for sample in found}) == 7


def test_every_gold_answer_of_math500_and_the_contests_is_right_in_a_box(reference_data: Path) -> None:
    for name in ("math500", "contest"):
        benchmark = get_benchmark(name)
        for sample in load(benchmark, reference_data / "benchmarks" / f"{name}.jsonl"):
            assert benchmark.score(sample, f"So it is \\boxed{{{sample.answer}}}.").grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("name", "count"), [("aime2024", 30), ("aime2025", 30), ("amc2023", 40), ("hmmt2024", 30), ("hmmt2025", 30)]
)
def test_a_contest_takes_its_own_problems_of_a_file_of_all(reference_data: Path, name: str, count: int) -> None:
    assert len(load(get_benchmark(name), reference_data / "benchmarks" / "contest.jsonl")) == count


def test_levels_are_read_in_either_spelling() -> None:
    row = {"unique_id": "a", "problem": "p", "answer": "1", "level": "Level 5", "type": "Algebra"}
    sample = get_benchmark("math500").sample(row, "row 1", 0)
    assert sample is not None
    assert (sample.level, sample.subject) == ("5", "Algebra")


def test_answers_read_as_floats_are_whole_numbers() -> None:
    sample = get_benchmark("amc2023").sample({"id": 0, "question": "q", "answer": 27.0}, "row 1", 0)
    assert sample is not None
    assert (sample.id, sample.answer) == ("0", "27")


# --- GPQA ------------------------------------------------------------------------------------------------------------


def test_the_options_are_shuffled_by_seed_and_record_alone() -> None:
    gpqa = get_benchmark("gpqa")
    asked = [gpqa.sample({**GPQA_ROW, "Record ID": f"rec{n}"}, "row", 0) for n in range(200)]
    assert asked == [gpqa.sample({**GPQA_ROW, "Record ID": f"rec{n}"}, "elsewhere", 0) for n in range(200)]
    counts = Counter(sample.answer for sample in asked if sample)
    assert set(counts) == set("ABCD")
    assert min(counts.values()) > 30
    assert {gpqa.sample(GPQA_ROW, "row", seed).answer for seed in range(20)} == set("ABCD")  # type: ignore[union-attr]


def test_the_letter_is_where_the_right_option_stands() -> None:
    for seed in range(8):
        sample = get_benchmark("gpqa").sample(GPQA_ROW, "row", seed)
        assert sample is not None
        assert f"({sample.answer}) hydrogen" in sample.question
        assert sorted(sample.options) == ["argon", "helium", "hydrogen", "neon"]


def test_letters_options_and_stated_letters_are_graded() -> None:
    sample = get_benchmark("gpqa").sample(GPQA_ROW, "row", 0)
    assert sample is not None
    right = sample.answer
    wrong = next(letter for letter in "ABCD" if letter != right)
    for text in (
        rf"\boxed{{{right}}}",
        rf"\boxed{{\text{{({right})}}}}",
        r"\boxed{Hydrogen}".lower(),
        f"x\nANSWER: {right}",
    ):
        assert get_benchmark("gpqa").score(sample, text).grade is Grade.CORRECT, text
    for text in (
        rf"\boxed{{{wrong}}}",
        r"\boxed{helium}",
        f"ANSWER: {right}\nANSWER: {wrong}",
        f"ANSWER: {right}{wrong}",
    ):
        assert get_benchmark("gpqa").score(sample, text).grade is not Grade.CORRECT, text
    assert get_benchmark("gpqa").score(sample, "no idea").grade is Grade.NO_ANSWER


def test_gpqa_is_read_from_the_users_csv(tmp_path: Path) -> None:
    path = tmp_path / "gpqa_diamond.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(GPQA_ROW))
        writer.writeheader()
        writer.writerows({**GPQA_ROW, "Record ID": f"rec{n}", "Question": 'Of "these",\nwhich?'} for n in range(3))
    config = EvalConfig(out=tmp_path / "o", benchmark="gpqa", data=path, n=2)
    found = samples(config)
    assert [sample.id for sample in found] == ["rec0", "rec1"]
    assert found[0].question.startswith('Of "these",\nwhich?\n\n(A)')
    assert scorer(config)(found[0], f"\\boxed{{{found[0].answer}}}").grade is Grade.CORRECT


def test_gpqa_is_never_fetched() -> None:
    with pytest.raises(InputError, match="'gpqa' needs your own copy"):
        load(get_benchmark("gpqa"), None)


# --- countdown -------------------------------------------------------------------------------------------------------


def test_countdown_problems_of_a_file_are_graded_by_their_rules(reference_data: Path) -> None:
    countdown = get_benchmark("countdown")
    found = load(countdown, reference_data / "benchmarks" / "countdown.jsonl")
    assert len(found) == 50
    for sample in found:
        assert countdown.score(sample, f"\\boxed{{{sample.answer}}}").grade is Grade.CORRECT
        assert countdown.score(sample, "\\boxed{1}").grade is not Grade.CORRECT


def test_countdown_rows_may_be_numbers_and_a_target() -> None:
    row = {"id": 1, "nums": [3, 5, 7], "target": 22}
    assert grade("countdown", row, r"\boxed{3*5+7}") is Grade.CORRECT
    assert grade("countdown", row, r"\boxed{22}") is Grade.NUMBER_NOT_GIVEN
    with pytest.raises(InputError, match="row 1: expected a question, or whole numbers"):
        get_benchmark("countdown").sample({"id": 1, "numbers": ["3"], "target": 22}, "row 1", 0)


# --- any file --------------------------------------------------------------------------------------------------------


def test_any_file_is_read_by_a_mapping_of_columns(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", [{"key": 7, "prompt": "1+1?", "gold": 2, "hardness": "Level 1"}])
    columns = {"id": "key", "question": "prompt", "answer": "gold", "level": "hardness"}
    (sample,) = samples(EvalConfig(out=tmp_path / "o", data=tmp_path / "d.jsonl", columns=columns))
    assert (sample.id, sample.question, sample.answer, sample.level) == ("7", "1+1?", "2", "1")
    with pytest.raises(InputError, match="columns has 'text', expected one of"):
        Columns({"text": "x"})


def test_parquet_and_csv_hold_the_same_samples(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"id": "a", "question": "q, with comma", "answer": "1/2"}, {"id": "b", "question": "r", "answer": "2"}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    (tmp_path / "d.csv").write_text('id,question,answer\na,"q, with comma",1/2\nb,r,2\n', encoding="utf-8")
    write_jsonl(tmp_path / "d.jsonl", rows)
    found = [load(Columns(), tmp_path / f"d.{kind}") for kind in ("jsonl", "csv", "parquet")]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "holds no rows of 'file'"),
        ("a.jsonl", '{"id": 1, "question": "q"}\n', "row 1: 'answer' is None, expected a text"),
        ("a.jsonl", '{"id": 1, "question": "q", "answer": "1"}\n' * 2, "the id '1' appears twice"),
        ("a.csv", "id,question,answer\n1,q,\n", "row 1: 'answer' is '', expected a text"),
        ("a.csv", 'id,question,answer\n"1,q,2\n', "not readable as CSV"),
        ("a.parquet", "no", "not readable as Parquet"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load(Columns(), tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist, expected a .jsonl, .csv or .parquet file"):
        load(Columns(), tmp_path / "absent.csv")


def test_a_folder_laid_out_like_a_dataset_of_the_hub_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "set"
    write_jsonl(folder / "test.jsonl", [{"unique_id": "a", "problem": "p", "answer": "1", "level": 3}])
    benchmark = get_benchmark("math500")
    monkeypatch.setattr(type(benchmark), "hub", str(folder))
    (sample,) = load(benchmark, None)
    assert (sample.id, sample.level) == ("a", "3")
    with pytest.raises(InputError, match=r"cannot be read: .*; give your own copy with --data"):
        list(hub_rows(str(tmp_path / "absent")))


# --- the registry ----------------------------------------------------------------------------------------------------


def test_every_benchmark_has_a_name_and_words_about_it() -> None:
    assert len(benchmark_names()) == 9
    for name in benchmark_names():
        found: Benchmark = get_benchmark(name)
        assert (found.name, bool(found.about)) == (name, True)
    with pytest.raises(InputError, match="unknown benchmark 'math', expected one of: math500"):
        get_benchmark("math")


def test_an_evaluation_names_one_source() -> None:
    def config(**values: Any) -> EvalConfig:
        return validate(EvalConfig, {"out": "o", **values}, "options")

    assert source_name(config(benchmark="gpqa", data="my.csv")) == "gpqa"
    assert source_name(config(data="my.csv")) == "my.csv"
    assert source_name(config(task="chains")) == "chains"
    for wrong in ({}, {"task": "chains", "benchmark": "gpqa"}, {"task": "chains", "data": "a"}):
        with pytest.raises(ConfigError, match="expected either a task, or a benchmark or data file"):
            config(**wrong)
    with pytest.raises(ConfigError, match="columns is of use with a data file"):
        config(benchmark="gpqa", data="a", columns={"id": "x"})


@pytest.mark.parametrize("value", [None, "", "  ", True, [], {"a": 1}])
def test_a_value_that_is_no_text_is_none(value: object) -> None:
    assert text_of({"a": value, "b": 5}, ("a", "b"), "row 1") == "5"
    with pytest.raises(InputError, match="row 1: 'a' is"):
        text_of({"a": value}, ("a",), "row 1")
