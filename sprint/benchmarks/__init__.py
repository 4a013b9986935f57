"""Fixed questions from a file or the dataset hub, each with its grader; `get_benchmark` finds one by name."""

from __future__ import annotations

from collections.abc import Mapping

from sprint.benchmarks.base import BOX_OR_STATEMENT, Benchmark, Sample, Score, score_answer
from sprint.benchmarks.columns import Columns
from sprint.benchmarks.contest import Aime2024, Aime2025, Amc2023, Contest, Hmmt2024, Hmmt2025
from sprint.benchmarks.countdown import CountdownFile
from sprint.benchmarks.gpqa import Gpqa
from sprint.benchmarks.math500 import Math500
from sprint.benchmarks.source import load
from sprint.errors import InputError

__all__ = [
    "BOX_OR_STATEMENT",
    "Benchmark",
    "Columns",
    "Sample",
    "Score",
    "benchmark_names",
    "get_benchmark",
    "load",
    "score_answer",
]

_ALL: Mapping[str, type[Benchmark]] = {
    known.name: known
    for known in (Math500, Aime2024, Aime2025, Amc2023, Hmmt2024, Hmmt2025, Contest, Gpqa, CountdownFile)
}


def benchmark_names() -> tuple[str, ...]:
    """The names `get_benchmark` knows."""
    return tuple(_ALL)


def get_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises InputError for an unknown one."""
    if name not in _ALL:
        message = f"unknown benchmark {name!r}, expected one of: {', '.join(_ALL)}"
        raise InputError(message, field="benchmark")
    return _ALL[name]()
