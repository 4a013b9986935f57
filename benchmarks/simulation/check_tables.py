"""The table of predictions beside measurements. It knows its rows and nothing of how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.simulation.results import Results

_SHOWN = (
    ("requests/s", "requests_per_s", 2),
    ("p50, s", "p50_s", 2),
    ("p99, s", "p99_s", 2),
    ("affinity", "affinity", 3),
    ("prefix cache", "cached", 3),
    ("calls running", "running", 1),
    ("calls queued", "waiting", 1),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One load at one number of replicas. `load` is the machine's load average at its end."""

    replicas: int
    clients: int
    load: float
    measured: dict[str, float]
    predicted: Results


def table(rows: Sequence[Row], engine: str) -> Table:
    """Each number as measured → predicted, and by how much the prediction is off."""
    columns = ("replicas", "clients", *(name for name, _, _ in _SHOWN), "right", "load")
    shown = Table(*columns, title=f"measured → predicted ({engine} engines)")
    for row in rows:
        cells = [_cell(row, key, digits) for _, key, digits in _SHOWN]
        shown.add_row(str(row.replicas), str(row.clients), *cells, f"{row.measured['right']:.0%}", f"{row.load:.1f}")
    return shown


def _cell(row: Row, key: str, digits: int) -> str:
    predicted: Any = getattr(row.predicted, key)
    seen = row.measured.get(key)
    if seen is None:
        return f"– → {predicted:.{digits}f}"
    off = f" ({predicted / seen - 1:+.0%})" if seen and key.endswith("_s") else ""
    return f"{seen:.{digits}f} → {predicted:.{digits}f}{off}"
