"""Rows of a benchmark: from the user's file, or from the dataset hub. It knows file formats, no benchmark."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sprint.benchmarks.base import Benchmark, Sample
from sprint.errors import InputError
from sprint.files import read_jsonl

_MAX_FIELD = 1 << 24  # characters of one CSV field


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl, .csv or .parquet file. Raises InputError when it is missing or is not one."""
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected a .jsonl, .csv or .parquet file", field="data")
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    return readers.get(path.suffix.lower(), read_jsonl)(path)


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_MAX_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as CSV: {error}", field="data") from error


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        yield from read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} is not readable as Parquet: {error}", field="data") from error


def hub_rows(name: str, config: str = "", split: str = "test") -> Iterator[dict[str, Any]]:
    """The rows of a dataset of the hub, or of a local folder laid out like one, as they come.

    Raises InputError when it cannot be had.
    """
    from datasets import load_dataset

    try:
        yield from load_dataset(name, config or None, split=split, streaming=True)
    except Exception as error:  # network, hub, formats: the library raises a dozen kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        message = f"the dataset {name!r} (split {split!r}) cannot be read: {reason}; give your own copy with --data"
        raise InputError(message, field="data") from error


def load(benchmark: Benchmark, data: Path | None, limit: int | None = None, seed: int = 0) -> list[Sample]:
    """The first `limit` samples of a benchmark, from the user's file or else from the hub.

    Raises InputError when there are none, a row is none, or an id appears twice.
    """
    samples = list(islice(_samples(benchmark, data, seed), limit))
    if not samples:
        raise InputError(f"{data or benchmark.hub} holds no rows of {benchmark.name!r}", field="data")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise InputError(f"{data or benchmark.hub}: the id {sample.id!r} appears twice, expected each once")
        seen.add(sample.id)
    return samples


def _samples(benchmark: Benchmark, data: Path | None, seed: int) -> Iterator[Sample]:
    for number, row in enumerate(_rows(benchmark, data), 1):
        sample = benchmark.sample(row, f"{data or benchmark.hub} row {number}", seed)
        if sample is not None:
            yield sample


def _rows(benchmark: Benchmark, data: Path | None) -> Iterator[Mapping[str, Any]]:
    if data:
        return read_rows(data)
    if not benchmark.hub:
        raise InputError(f"benchmark {benchmark.name!r} needs your own copy: give its file with --data", field="data")
    return hub_rows(benchmark.hub, benchmark.hub_config, benchmark.hub_split)
