"""Curation at scale: rate and peak memory of `sprint curate` at 1, 4 and 16 times the input, or on one large input.

    python -m benchmarks.scale [--rows 1000] [--times 1 4 16] [--traces FILE...]

Makes traces, generated or those of the files repeated, runs the command in a process of its own and samples the
memory of everything it starts (proportional set size: shared pages counted once). Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from sprint.tasks import Split, get_task

_SAMPLE_S = 0.5
_THOUGHTS = 4  # put together they are about as long as an R1-type trace of a MATH problem
_COLUMNS = ("question", "problem", "reasoning", "answer", "response", "closed")


def write_traces(path: Path, num_rows: int, real: list[Path]) -> None:
    """`num_rows` traces, no two alike: those of the files over and over under new numbers, else generated ones."""
    rows = _repeated(real) if real else _generated()
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(islice(rows, num_rows)):
            file.write(json.dumps(row | {"id": f"row-{number}"}) + "\n")


def _repeated(paths: list[Path]) -> Iterator[dict[str, Any]]:
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [{name: row[name] for name in _COLUMNS if name in row} for row in rows]
    for turn in count():
        for row in kept:
            yield row | {"reasoning": f"Attempt {turn}. {row['reasoning']}"}


def _generated() -> Iterator[dict[str, Any]]:
    task = get_task("chains", num_chains=4, num_operands=32)
    traces = map(task.teach, task.problems(Split.TRAIN))
    while True:
        thoughts = list(islice(traces, _THOUGHTS))
        last = thoughts[-1]
        reasoning = "\n\n".join(trace.reasoning for trace in thoughts)
        yield {"question": last.question, "answer": last.answer, "response": last.response, "reasoning": reasoning}


def memory_bytes(pid: int) -> int:
    """Memory of a process and all it started."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(process.pid) for process in family)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def curate(traces: Path, out: Path, options: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of one run."""
    words = [sys.executable, "-m", "sprint.cli", "curate", str(traces), "--out", str(out), *options]
    began, peak = time.monotonic(), 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(_SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with {process.returncode}")
    return time.monotonic() - began, peak


def runs(rows: int, times: list[int], real: list[Path], options: list[str]) -> Iterator[tuple[int, int, float, int]]:
    """(rows, bytes of input, seconds, peak bytes) for each size."""
    for factor in times:
        with tempfile.TemporaryDirectory() as folder:
            traces = Path(folder) / "traces.jsonl"
            write_traces(traces, rows * factor, real)
            size = traces.stat().st_size
            yield rows * factor, size, *curate(traces, Path(folder) / "out", options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--traces", type=Path, nargs="+", default=[], help="JSONL files of traces to repeat")
    parser.add_argument("options", nargs="*", help="further options of sprint curate, after --")
    given = parser.parse_args()
    table = Table("rows", "input MB", "seconds", "rows/s", "peak MiB", "ratio to first", title="sprint curate by rules")
    first = 0
    for num_rows, size, seconds, peak in runs(given.rows, given.times, given.traces, given.options):
        first = first or peak
        cells = (f"{num_rows:,}", f"{size / 1e6:.0f}", f"{seconds:.0f}", f"{num_rows / seconds:.0f}", f"{peak >> 20}")
        table.add_row(*cells, f"{peak / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    main()
