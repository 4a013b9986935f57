"""Finds the rows of JSONL and Parquet inputs without holding them: shards, in a fixed order, that tasks read.

Knows files and rows, not what the rows mean. A row that cannot be read is still a row: it carries the file, the line
and what is wrong. Paths must be readable on every node.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sprint.errors import InputError

SUFFIXES = (".jsonl", ".parquet")
_MAX_LINE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shard:
    """`num_rows` rows of one file from `first_row` (from 1); `offset` is where a JSONL shard starts, in bytes."""

    path: str
    first_row: int
    num_rows: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read: its value, or (`error`) why there is none. `where` names file and row for a person."""

    where: str
    value: dict[str, Any]
    error: str = ""


def find(inputs: Iterable[str]) -> list[Path]:
    """The input files in a fixed order, each once. Raises InputError for a path that leads to none."""
    found: dict[Path, None] = {}
    for text in inputs:
        matches = _matches(text)
        if not matches:
            raise InputError(f"{text} leads to no {' or '.join(SUFFIXES)} file", field="inputs")
        found |= dict.fromkeys(matches)
    return list(found)


def _matches(text: str) -> list[Path]:
    path = Path(text)
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise InputError(f"{text} is neither a {' nor a '.join(SUFFIXES)} file", field="inputs")
        return [path]
    if path.is_dir():
        return sorted(file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}"))
    if not glob.has_magic(text):
        raise InputError(f"{text} does not exist", field="inputs")
    return sorted(file for file in map(Path, glob.glob(text, recursive=True)) if file.suffix in SUFFIXES)


def shards(paths: Iterable[Path], rows_per_shard: int, limit: int | None = None) -> list[Shard]:
    """The inputs cut into shards, in order, up to `limit` rows. Raises InputError when there are no rows at all."""
    cut: list[Shard] = []
    left = limit
    for path in paths:
        for shard in _shards_of(path, rows_per_shard):
            if left is not None:
                if not left:
                    return cut
                shard = replace(shard, num_rows=min(shard.num_rows, left))
                left -= shard.num_rows
            cut.append(shard)
    if not cut:
        raise InputError("the inputs hold no rows", field="inputs")
    return cut


def _shards_of(path: Path, rows_per_shard: int) -> Iterator[Shard]:
    if path.suffix == ".parquet":
        num_rows = _parquet(path).metadata.num_rows
        for first in range(0, num_rows, rows_per_shard):
            yield Shard(str(path), first + 1, min(rows_per_shard, num_rows - first))
        return
    yield from _jsonl_shards(path, rows_per_shard)


def _jsonl_shards(path: Path, rows_per_shard: int) -> Iterator[Shard]:
    """One pass over the bytes; lines are counted, empty ones too, so that row numbers are line numbers."""
    start, offset, first, number = 0, 0, 1, 0
    any_text = False
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                offset += len(line)
                any_text = any_text or bool(line.strip())
                if number - first + 1 == rows_per_shard:
                    if any_text:
                        yield Shard(str(path), first, rows_per_shard, start)
                    start, first, any_text = offset, number + 1, False
    except OSError as error:
        raise InputError(f"{path} is not readable: {error.strerror}", field="inputs") from error
    if any_text:
        yield Shard(str(path), first, number - first + 1, start)


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is not readable as Parquet: {error}", field="inputs") from error


def read(shard: Shard) -> Iterator[RawRow]:
    """The rows of a shard, in order."""
    return _read_parquet(shard) if shard.path.endswith(".parquet") else _read_jsonl(shard)


def _read_jsonl(shard: Shard) -> Iterator[RawRow]:
    with open(shard.path, "rb") as file:
        file.seek(shard.offset)
        for number in range(shard.first_row, shard.first_row + shard.num_rows):
            line = file.readline()
            if line.strip():
                yield _json_row(line, f"{shard.path} line {number}")


def _json_row(line: bytes, where: str) -> RawRow:
    if len(line) > _MAX_LINE_BYTES:
        return RawRow(where, {}, f"{where} is longer than {_MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        return RawRow(where, {}, f"{where} is not UTF-8 text: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return RawRow(where, {}, f"{where} is broken JSON: {error}")
    if not isinstance(value, dict):
        return RawRow(where, {}, f"{where} holds a JSON {type(value).__name__}, expected an object")
    return RawRow(where, value)


def _read_parquet(shard: Shard) -> Iterator[RawRow]:
    file = _parquet(Path(shard.path))
    first, last = shard.first_row - 1, shard.first_row - 1 + shard.num_rows
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if start < last and end > first:
            rows = file.read_row_group(group).slice(max(first - start, 0), min(last, end) - max(first, start))
            for number, value in enumerate(rows.to_pylist(), max(first, start) + 1):
                yield RawRow(f"{shard.path} row {number}", value)
        start = end
