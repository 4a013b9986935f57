"""Laws of the inputs: any way to hold rows gives the same rows, however they are cut and wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.inputs import columnar, jsonl, sources
from pipelines.inputs.sources import RawRow
from sprint.errors import InputError
from sprint.rows import MAX_PARTS
from tests.edge.inputs import read, write_arrow, write_dataset, write_jsonl, write_parquet


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "problem": f"What is {i}?", "meta": {"level": i % 5}} for i in range(count)]


def _values(rows: list[RawRow]) -> list[dict[str, Any]]:
    assert [row.error for row in rows] == [""] * len(rows)
    return [row.value for row in rows]


# --- kinds of files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 23 rows in every kind of file."""
    folder, rows = tmp_path_factory.mktemp("kinds"), _rows(23)
    return {
        "jsonl": write_jsonl(folder / "a.jsonl", rows),
        "parquet": write_parquet(folder / "a.parquet", rows),
        "parquet of small groups": write_parquet(folder / "b.parquet", rows, row_group_size=3),
        "stream": write_arrow(folder / "s.arrow", rows, 5, stream=True),
        "stream with dictionaries": write_arrow(folder / "d.arrow", rows, 5, stream=True, coded=True),
        "file": write_arrow(folder / "f.arrow", rows, 5, stream=False),
        "dataset": write_dataset(folder / "dataset", rows, num_shards=3),
    }


KINDS = ["jsonl", "parquet", "parquet of small groups", "stream", "stream with dictionaries", "file", "dataset"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows_per_shard", [1, 2, 3, 7, 100])
def test_every_kind_gives_the_same_rows_however_it_is_cut(
    kinds: dict[str, Path], kind: str, rows_per_shard: int
) -> None:
    rows = read([str(kinds[kind])], rows_per_shard)
    assert _values(rows) == _rows(23)
    assert [row.position for row in rows] == [MAX_PARTS * i for i in range(23)]


@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_read_in_any_order_and_more_than_once(kinds: dict[str, Path], kind: str) -> None:
    cut = sources.shards(sources.find([str(kinds[kind])]), 2)
    rows = {shard.start: [row.value["id"] for row in sources.read(shard)] for shard in [*cut[::-1], *cut[::3], *cut]}
    assert [id for start in sorted(rows) for id in rows[start]] == [f"r{i}" for i in range(23)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_takes_the_first_rows(kinds: dict[str, Path], kind: str) -> None:
    assert _values(read([str(kinds[kind])], 4, limit=10)) == _rows(10)
    assert len(read([str(kinds[kind])], 4, limit=99)) == 23


def test_positions_run_on_over_the_inputs(kinds: dict[str, Path]) -> None:
    inputs = [str(kinds[kind]) for kind in KINDS]
    one, other = read(inputs, 3), read(inputs, 50)
    assert one == other
    assert [row.position // MAX_PARTS for row in one] == list(range(23 * len(KINDS)))


def test_one_large_block_is_passed_once_and_not_for_every_shard(
    kinds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    batches = columnar._batches

    def counted(*args: Any) -> Iterator[Any]:
        opened.append(args[1])
        return batches(*args)

    monkeypatch.setattr(columnar, "_batches", counted)
    cut = sources.shards(sources.find([str(kinds["parquet"])]), 1)
    assert len([row for shard in cut[::2] for row in sources.read(shard)]) == 12
    assert len(opened) == 1


# --- generations -----------------------------------------------------------------------------------------------------


def _problem(number: int, count: int) -> dict[str, Any]:
    lists = {"generations": [f"<think>{k}</think>{number}" for k in range(count)]}
    complete = {"is_reasoning_complete": [k % 2 == 0 for k in range(count)]}
    return {"uuid": f"u{number}", "problem": f"What is {number}?", "answer": str(number), **lists, **complete}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 9), st.integers(1, 12))
@example([2, 0, 1], 1, 2)
def test_generations_stand_in_the_same_places_however_the_inputs_are_cut(
    tmp_path: Path, counts: list[int], rows_per_shard: int, limit: int
) -> None:
    rows = [_problem(number, count) for number, count in enumerate(counts)]
    paths = [write_jsonl(tmp_path / "a.jsonl", rows), write_parquet(tmp_path / "b.parquet", rows, row_group_size=2)]
    (tmp_path / "a.jsonl").write_text((tmp_path / "a.jsonl").read_text().replace("\n", "\n\n"))
    found = read([str(path) for path in paths], rows_per_shard)
    expected = [(i, max(count, 1)) for i, count in enumerate(counts + counts)]
    assert [row.position for row in found] == [MAX_PARTS * i + k for i, count in expected for k in range(count)]
    assert [bool(row.error) for row in found] == [not count for count in counts + counts for _ in range(max(count, 1))]
    texts = [row.value["generations"] for row in found if not row.error]
    assert texts == [text for row in rows + rows for text in row["generations"]]
    assert read([str(path) for path in paths], rows_per_shard, limit) == [
        row for row in found if row.position < MAX_PARTS * limit
    ]


def test_a_generation_says_where_it_stood(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [_problem(1, 2), _problem(2, 1), _problem(3, 0)])
    assert [row.where.removeprefix(str(path)) for row in read([str(path)])] == [
        " line 1 generation 1",
        " line 1 generation 2",
        " line 2",
        " line 3",
    ]


# --- lines -----------------------------------------------------------------------------------------------------------

LINES: list[tuple[bytes, str]] = [
    (b'{"id": 1}', ""),
    (b'{"id": 2}\r', ""),
    (b"", "none"),
    (b" \t\r", "none"),
    (b'{"id": "\xff"}', "is not UTF-8 text: invalid start byte at byte 8"),
    (b'{"id": ', "is broken JSON"),
    (b"[1, 2]", "holds a JSON list, expected an object"),
    (b"[" * 100_000, "is broken JSON"),
    (b'{"id": %s}' % (b"9" * 5000), "is broken JSON"),
    ('{"id": "é\u2028"}'.encode(), ""),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.sampled_from(LINES), max_size=9), st.integers(1, 4), st.booleans(), st.booleans())
def test_lines_of_any_kind_are_rows_in_their_places(
    tmp_path: Path, lines: list[tuple[bytes, str]], rows_per_shard: int, ends: bool, marked: bool
) -> None:
    path = tmp_path / "a.jsonl"
    lines = [*lines, LINES[0]]
    path.write_bytes((b"\xef\xbb\xbf" if marked else b"") + b"\n".join(text for text, _ in lines) + b"\n" * ends)
    found = read([str(path)], rows_per_shard)
    expected = [(number, error) for number, (_, error) in enumerate(lines, 1) if error != "none"]
    assert [row.where for row in found] == [f"{path} line {number}" for number, _ in expected]
    assert [row.position for row in found] == [MAX_PARTS * i for i in range(len(expected))]
    for row, (_, error) in zip(found, expected, strict=True):
        assert bool(row.error) is bool(error)
        assert error in row.error
        assert bool(row.value) is not bool(error)


def test_lines_that_are_too_long_are_rows_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 40)
    monkeypatch.setattr(jsonl, "_CHUNK_BYTES", 16)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(['{"id": 1}', '"' + "x" * 100 + '"', '{"id": 2}', '"' + "x" * 50 + '"']))
    for rows_per_shard in (1, 2, 9):
        found = read([str(path)], rows_per_shard)
        assert [row.error.removeprefix(f"{path} ") for row in found] == [
            "",
            "line 2 is longer than 40 bytes",
            "",
            "line 4 is longer than 40 bytes",
        ]


def test_a_value_that_cannot_be_had_costs_its_own_row_only(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = pa.array([b"good", b"\xff\xfe", b"fine"])
    pq.write_table(pa.table({"id": pa.Array.from_buffers(pa.string(), 3, raw.buffers())}), tmp_path / "a.parquet")
    found = read([str(tmp_path / "a.parquet")])
    assert [row.value.get("id") for row in found] == ["good", None, "fine"]
    assert "row 2 cannot be read: 'utf-8' codec can't decode" in found[1].error


def test_a_file_that_changed_since_it_was_cut_is_not_read_by_halves(tmp_path: Path) -> None:
    for path in (write_jsonl(tmp_path / "a.jsonl", _rows(6)), write_parquet(tmp_path / "b.parquet", _rows(6))):
        cut = sources.shards(sources.find([str(path)]), 3)
        assert len(list(sources.read(cut[0]))) == 3
        (write_jsonl if path.suffix == ".jsonl" else write_parquet)(path, _rows(4))
        with pytest.raises(InputError, match="changed while it was read"):
            list(sources.read(cut[1]))
