"""Reads a curated training set: a folder of Parquet files, or one of them. It knows columns and nothing of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprint.card import Method
from sprint.errors import InputError

COLUMNS = ("id", "question", "method", "text")


@dataclass(frozen=True, slots=True)
class Curated:
    """A training set as curation left it."""

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    texts: tuple[str, ...]
    method: Method


def read_curated(folder: Path) -> Curated:
    """The curated set in `folder`. Raises InputError for a missing folder, wrong columns, no rows or mixed methods."""
    files = _parquet_files(folder)
    rows = [row for file in files for row in _read(file)]
    if not rows:
        raise InputError(f"{folder} holds no training examples, expected at least one row", field="data")
    methods = sorted({str(row["method"]) for row in rows})
    if len(methods) > 1 or methods[0] not in tuple(Method):
        raise InputError(
            f"{folder}: column 'method' holds {', '.join(methods)}, expected one of sprint, rft in all rows"
        )
    ids, questions, texts = (tuple(str(row[name]) for row in rows) for name in ("id", "question", "text"))
    return Curated(ids, questions, texts, Method(methods[0]))


def _parquet_files(folder: Path) -> list[Path]:
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist", field="data")
    files = [folder] if folder.is_file() else sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder} holds no .parquet file, expected a curated training set", field="data")
    return files


def _read(file: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(file).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise InputError(f"{file} has no column {missing[0]!r}, expected the columns {', '.join(COLUMNS)}")
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file, columns=list(COLUMNS)).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not readable as Parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, 1):
        empty = [name for name in COLUMNS if not isinstance(row[name], str) or not row[name]]
        if empty:
            raise InputError(f"{file} row {number}: column {empty[0]!r} is {row[empty[0]]!r}, expected some text")
    return rows
