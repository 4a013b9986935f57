"""Curation with the real Ray Data, on small folders of good and bad rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import CurateConfig
from pipelines.run import curate
from sprint.card import Instruction
from sprint.config import validate
from sprint.errors import ConfigError, InputError
from sprint.tasks import Split, get_task
from sprint.types import DropReason
from tests.edge.fake_s3 import FakeS3


@pytest.fixture(scope="module", autouse=True)
def ray_for_all() -> Iterator[None]:
    """One small Ray for the whole file; curation uses the Ray it finds."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def _rows(count: int) -> list[dict[str, Any]]:
    task = get_task("chains", num_chains=4)
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), count)]
    names = ("id", "question", "reasoning", "answer", "response", "closed")
    return [{name: getattr(trace, name) for name in names} for trace in traces]


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row) for row in rows]


def _config(inputs: list[Path], out: Path, **options: Any) -> CurateConfig:
    values = {"inputs": tuple(map(str, inputs)), "out": str(out), "rows_per_task": 4, **options}
    return validate(CurateConfig, values, "test")


def _table(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two files: 12 good rows in one with trouble between them, 4 good rows in Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _rows(16)
    bad = [
        '{"question": "broken',
        "[1, 2]",
        json.dumps({"question": "no more than a question"}),
        json.dumps(rows[0] | {"id": "again"}),
        json.dumps(rows[1] | {"id": "wrong", "answer": "99", "reasoning": "Another way. It is 99."}),
        json.dumps(rows[2] | {"id": "open", "closed": False, "reasoning": "Hmm."}),
        "",
    ]
    folder = tmp_path / "traces"
    folder.mkdir()
    lines = _lines(rows[:5]) + bad + _lines(rows[5:12])
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "a.txt").write_text("not an input", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows[12:]), folder / "b.parquet", row_group_size=3)
    return folder


def test_every_row_is_kept_or_dropped_with_a_reason(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = curate(_config([mixed], out))
    assert summary.num_rows == 22
    assert summary.dropped == {
        DropReason.MALFORMED_ROW: 3,
        DropReason.DUPLICATE: 1,
        DropReason.UNCLOSED_THOUGHT: 1,
        DropReason.WRONG_ANSWER: 1,
    }
    sprint, rft = _table(out / "sprint"), _table(out / "rft")
    assert [row["id"] for row in sprint] == [row["id"] for row in rft] == [row["id"] for row in _rows(16)]
    assert {row["method"] for row in sprint} == {"sprint"}
    columns = ["id", "question", "answer", "method", "text", "messages", "num_rounds", "num_executions", "ratio"]
    assert list(rft[0]) == [*columns, "level", "subject"]
    assert rft[0]["messages"][1] == {"role": "assistant", "content": rft[0]["text"]}
    assert rft[0]["messages"][0]["content"].endswith(f"<Question>\n{rft[0]['question']}\n</Question>")
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert [row["where"].split()[-1] for row in dropped] == ["6", "7", "8", "9", "10", "11"]
    assert "a.jsonl line 6 is broken JSON" in dropped[0]["detail"]
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["result"]
    assert manifest["state"] == "complete"
    assert counts["num_kept"] + sum(counts["dropped"].values()) == counts["num_rows"] == manifest["num_rows"] == 22
    page = (out / "report.html").read_text()
    assert "wrong answer" in page
    assert "<svg" in page
    assert "&lt;Plan_1&gt;" in page
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_equal_inputs_give_equal_rows_however_they_are_cut(mixed: Path, tmp_path: Path) -> None:
    curate(_config([mixed], tmp_path / "one", rows_per_task=1, rows_per_file=5))
    curate(_config([mixed / "a.jsonl", mixed / "b.parquet"], tmp_path / "two", rows_per_task=100))
    assert _table(tmp_path / "one" / "sprint") == _table(tmp_path / "two" / "sprint")
    assert len(list((tmp_path / "one" / "rft").iterdir())) == 4


def test_a_limit_reads_the_first_rows_only(mixed: Path, tmp_path: Path) -> None:
    assert curate(_config([mixed], tmp_path / "out", limit=6)).num_rows == 6


def test_an_output_is_replaced_only_when_asked(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    curate(_config([mixed], out, limit=5))
    with pytest.raises(InputError, match="holds a finished run"):
        curate(_config([mixed], out))
    assert len(_table(out / "sprint")) == 5
    assert curate(_config([mixed], out, overwrite=True)).num_kept == len(_table(out / "sprint")) == 16


def test_nothing_kept_still_leaves_sets_with_their_columns(mixed: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    summary = curate(_config([mixed], tmp_path / "out", min_ratio=9.0))
    assert summary.num_kept == 0
    assert pq.read_table(tmp_path / "out" / "sprint").column_names[0] == "id"


def _inputs(tmp_path: Path) -> dict[str, tuple[list[str], dict[str, Any], str]]:
    good, empty, broken, odd = (
        tmp_path / name for name in ("good.jsonl", "empty.jsonl", "broken.jsonl", "odd.parquet")
    )
    good.write_text("\n".join(_lines(_rows(2))), encoding="utf-8")
    empty.write_text("\n\n", encoding="utf-8")
    broken.write_text("{\n]", encoding="utf-8")
    odd.write_text("not parquet", encoding="utf-8")
    (tmp_path / "none").mkdir()
    return {
        "missing file": ([str(tmp_path / "absent.jsonl")], {}, "does not exist"),
        "no match": ([str(tmp_path / "*.csv")], {}, "leads to no"),
        "empty folder": ([str(tmp_path / "none")], {}, "leads to no"),
        "no rows": ([str(empty)], {}, "no rows"),
        "nothing readable": ([str(broken)], {}, "none of the 2 rows is readable"),
        "not parquet": ([str(odd)], {}, "not readable as Parquet"),
        "wrong column": ([str(good)], {"columns": {"reasoning": "thoughts"}}, "no column 'thoughts'"),
        "output holds the inputs": ([str(good)], {"out": str(tmp_path), "overwrite": True}, "holds input files"),
        "output is a file": ([str(good)], {"out": str(good)}, "is not a folder"),
    }


_CASES = ["missing file", "no match", "empty folder", "no rows", "nothing readable", "not parquet", "wrong column"]


@pytest.mark.parametrize("case", [*_CASES, "output holds the inputs", "output is a file"])
def test_bad_input_gives_one_sentence_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    inputs, options, message = _inputs(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        curate(validate(CurateConfig, {"inputs": tuple(inputs), "out": str(tmp_path / "out"), **options}, "test"))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_rows_that_share_an_id_get_ids_of_their_own(tmp_path: Path) -> None:
    rows = [row | {"id": "same"} for row in _rows(4)]
    (tmp_path / "in.jsonl").write_text("\n".join(_lines([*rows, rows[1]])), encoding="utf-8")
    summary = curate(_config([tmp_path / "in.jsonl"], tmp_path / "out"))
    ids = [row["id"] for row in _table(tmp_path / "out" / "sprint")]
    assert ids[0] == "same"
    assert all(id.startswith("same~") for id in ids[1:])
    assert len(set(ids)) == 4
    assert summary.dropped == {DropReason.DUPLICATE: 1}


def test_a_spoilt_copy_does_not_stand_in_the_way_of_a_good_row(tmp_path: Path) -> None:
    good = _rows(1)[0]
    rows = [
        good | {"id": "wrong", "answer": "99"},
        good | {"id": "open", "closed": False},
        good,
        good | {"id": "again"},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(_lines(rows)), encoding="utf-8")
    summary = curate(_config([tmp_path / "in.jsonl"], tmp_path / "out"))
    assert [row["id"] for row in _table(tmp_path / "out" / "sprint")] == [good["id"]]
    assert summary.dropped == {DropReason.DUPLICATE: 3}


def test_changed_evaluation_sets_are_another_run(mixed: Path, tmp_path: Path) -> None:
    exam = tmp_path / "exam.jsonl"
    exam.write_text('{"problem": "How long is the longest river of all the many rivers that there are?"}')
    curate(_config([mixed], tmp_path / "out", contamination=(str(exam),)))
    exam.write_text("\n".join(_lines([{"problem": row["question"]} for row in _rows(3)])))
    with pytest.raises(InputError, match="evaluation sets have changed"):
        curate(_config([mixed], tmp_path / "out", contamination=(str(exam),), resume=True))


def test_half_a_manifest_is_no_run(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json.part").write_text("{")
    assert curate(_config([mixed], tmp_path / "out", limit=5)).num_rows == 5


def test_what_is_wrong_with_other_files_is_said_before_any_work(mixed: Path, tmp_path: Path) -> None:
    for options in ({"tokenizer": str(mixed / "a.jsonl")}, {"compare_with": str(tmp_path / "nowhere")}):
        with pytest.raises(InputError):
            curate(_config([mixed], tmp_path / "out", **options))
        assert not (tmp_path / "out").exists()


def test_tokens_are_written_on_request_and_counted_in(mixed: Path, tmp_path: Path) -> None:
    from sprint.card import Method, ModelCard
    from sprint.render import Layout, Prompter, training_example
    from sprint.tokenizer import load_tokenizer

    folder = _tokenizer(tmp_path / "tokenizer")
    curate(_config([mixed], tmp_path / "out", tokenizer=str(folder), fields=("text", "tokens"), instruction="none"))
    tokenizer = load_tokenizer(folder)
    for method in Method:
        row = _table(tmp_path / "out" / method)[3]
        prompter = Prompter(tokenizer, ModelCard(method, Instruction.NONE))
        wanted = training_example(row["id"], row["question"], row["text"], prompter, Layout.FLAT).main
        assert (tuple(row["input_ids"]), tuple(row["loss_mask"])) == (wanted.ids, wanted.sampled)
        assert any(wanted.sampled)
        assert not all(wanted.sampled)
    recorded = _table(tmp_path / "out" / "rows")
    texts = [row for row in recorded if row["sprint_text"]]
    assert all(0 < row["sequential_after"] < len(row["sprint_text"]) for row in texts)


def _tokenizer(folder: Path) -> Path:
    from transformers import PreTrainedTokenizerFast

    from train.tokenizers import train_tokenizer

    made = train_tokenizer([row["reasoning"] for row in _rows(16)])
    assert isinstance(made, PreTrainedTokenizerFast)
    made.save_pretrained(str(folder))
    return folder


def test_questions_of_an_evaluation_set_are_dropped(mixed: Path, tmp_path: Path) -> None:
    exam = [{"problem": row["question"]} for row in _rows(5)[2:4]]
    (tmp_path / "exam.jsonl").write_text("\n".join(_lines(exam)), encoding="utf-8")
    summary = curate(_config([mixed], tmp_path / "out", contamination=(str(tmp_path / "exam.jsonl"),)))
    assert summary.dropped[DropReason.CONTAMINATED] == 2
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    assert sum("exam.jsonl line 1" in row["detail"] for row in dropped) == 1


def test_the_sets_load_with_datasets(mixed: Path, tmp_path: Path) -> None:
    import datasets

    curate(_config([mixed], tmp_path / "out"))
    for name in ("sprint", "rft"):
        loaded = datasets.load_dataset(str(tmp_path / "out"), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["id"] == [row["id"] for row in _rows(16)]


def test_inputs_and_output_may_stand_in_a_bucket(mixed: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with FakeS3() as bucket:
        bucket.objects |= {f"data/{path.name}": path.read_bytes() for path in mixed.glob("?.[jp]*")}
        options = {"inputs": (bucket.uri("data"),), "out": bucket.uri("runs/one"), "rows_per_task": 4}
        summary = curate(validate(CurateConfig, options, "test"))
        local = curate(_config([mixed], tmp_path / "local"))
        assert summary.as_dict() == local.as_dict()
        for name in ("manifest.json", "report.html", "README.md", "dropped.jsonl"):
            assert b"secret@" not in bucket.objects[f"runs/one/{name}"]
        sprint = pq.read_table(io.BytesIO(bucket.objects["runs/one/sprint/part-00000.parquet"])).to_pylist()
        assert sprint == _table(tmp_path / "local" / "sprint")
        again = curate(validate(CurateConfig, options | {"resume": True}, "test"))
        assert again.as_dict() == summary.as_dict()


def test_overwriting_what_is_not_a_curation_is_refused(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(InputError, match="not a curation run"):
        curate(_config([mixed], out, overwrite=True))
    assert (out / "thesis.txt").read_text() == "years"


def test_an_unknown_field_in_the_column_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown field 'thought'"):
        validate(CurateConfig, {"inputs": ("a",), "out": "b", "columns": {"thought": "x"}}, "test")
