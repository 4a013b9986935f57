"""Inputs for tests: the same rows written in every kind of file, and read back the way tasks read them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.inputs import sources
from pipelines.inputs.sources import RawRow, Shard


def read(inputs: list[str], rows_per_shard: int = 4, limit: int | None = None) -> list[RawRow]:
    """All rows, by way of shards that were written down and read again."""
    cut = sources.shards(sources.find(inputs), rows_per_shard, limit)
    assert sum(shard.num_rows for shard in cut) == cut[-1].start + cut[-1].num_rows
    return [row for shard in cut for row in sources.read(Shard(**json.loads(json.dumps(asdict(shard)))))]


def ids_of(rows: list[RawRow]) -> list[str]:
    """The ids of rows that could all be read."""
    assert [row.error for row in rows] == [""] * len(rows)
    return [row.value["id"] for row in rows]


def some_rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "problem": f"What is {i}?"} for i in range(count)]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def write_arrow(path: Path, rows: list[dict[str, Any]], batch: int, *, stream: bool, coded: bool = False) -> Path:
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    if coded:
        table = table.set_column(1, "problem", table["problem"].dictionary_encode())
    with pa.OSFile(str(path), "wb") as file:
        writer = pa.ipc.new_stream(file, table.schema) if stream else pa.ipc.new_file(file, table.schema)
        with writer:
            writer.write_table(table, max_chunksize=batch)
    return path


def write_dataset(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(path, **options)
    return path
