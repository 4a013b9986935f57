"""Counts what a curation keeps and drops, and shows the table. Knows rows and numbers, not files or Ray."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sprint.curate import Curated
from sprint.types import DropReason

NUM_EXAMPLES = 3
_BIN = 0.5
_LAST_BIN = 6.0
_READABLE_CHARS = 5_000  # a longer example is not read by anyone


@dataclass(frozen=True)
class CurationSummary:
    """What a curation did. `ratios` counts judged traces per parallelism ratio, in bins of 0.5 named by their start."""

    out: Path
    num_rows: int
    num_kept: int
    dropped: dict[DropReason, int]
    ratios: dict[float, int]
    mean_ratio_kept: float
    mean_rounds_kept: float
    mean_executions_kept: float
    seconds: float

    @property
    def kept_share(self) -> float:
        return self.num_kept / self.num_rows if self.num_rows else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For counts.json: everything but the clock and the place, so that equal inputs give equal files."""
        return {
            "num_rows": self.num_rows,
            "num_kept": self.num_kept,
            "kept_share": round(self.kept_share, 4),
            "dropped": {str(reason): count for reason, count in self.dropped.items()},
            "ratio_histogram": {f"{start:g}": count for start, count in self.ratios.items()},
            "mean_ratio_kept": round(self.mean_ratio_kept, 4),
            "mean_rounds_kept": round(self.mean_rounds_kept, 4),
            "mean_executions_kept": round(self.mean_executions_kept, 4),
        }


@dataclass
class Tally:
    """The running counts, and the few kept rows that the report shows: chosen by a seeded hash, readable ones first."""

    seed: int
    num_rows: int = 0
    first_detail: str = ""
    _reasons: Counter[DropReason] = field(default_factory=Counter)
    _ratios: Counter[float] = field(default_factory=Counter)
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    _examples: list[tuple[int, int, Curated]] = field(default_factory=list)

    def add(self, row: Curated) -> None:
        self.num_rows += 1
        if row.num_steps:
            self._ratios[min(row.ratio // _BIN * _BIN, _LAST_BIN)] += 1
        if row.reason is not None:
            self._reasons[row.reason] += 1
            self.first_detail = self.first_detail or row.detail
            return
        for place, value in enumerate((row.ratio, row.num_rounds, row.num_executions)):
            self._sums[place] += value
        self._consider(row)

    def _consider(self, row: Curated) -> None:
        order = int(hashlib.sha256(f"{self.seed} {row.digest}".encode()).hexdigest()[:12], 16)
        readable = row.num_rounds > 1 and len(row.reasoning) <= _READABLE_CHARS
        entry = (int(readable), order, row)
        if len(self._examples) < NUM_EXAMPLES:
            heapq.heappush(self._examples, entry)
        elif entry[:2] > self._examples[0][:2]:
            heapq.heapreplace(self._examples, entry)

    @property
    def is_unreadable(self) -> bool:
        """Whether every row was malformed."""
        return self._reasons[DropReason.MALFORMED_ROW] == self.num_rows

    @property
    def examples(self) -> list[Curated]:
        return [row for _, _, row in sorted(self._examples, key=lambda entry: entry[:2], reverse=True)]

    def summary(self, out: Path, seconds: float) -> CurationSummary:
        num_kept = self.num_rows - self._reasons.total()
        ratio, num_rounds, num_executions = (total / max(num_kept, 1) for total in self._sums)
        dropped = {reason: self._reasons[reason] for reason in DropReason if self._reasons[reason]}
        ratios = dict(sorted(self._ratios.items()))
        means = (ratio, num_rounds, num_executions)
        return CurationSummary(out, self.num_rows, num_kept, dropped, ratios, *means, seconds)


def print_summary(summary: CurationSummary) -> None:
    """The counts as a table in the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading, justify in (("row", "left"), ("count", "right"), ("share", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, count in [("kept", summary.num_kept), *summary.dropped.items()]:
        table.add_row(str(name), str(count), f"{count / summary.num_rows:.1%}", end_section=name == "kept")
    console = Console()
    console.print(f"curated {summary.num_rows} rows in {summary.seconds:.1f} s", highlight=False)
    console.print(table)
    for start, count in summary.ratios.items():
        bar = "█" * round(40 * count / max(summary.ratios.values()))
        console.print(f"ratio {start:>4g}{'+' if start == _LAST_BIN else ' '} {count:>7} {bar}", highlight=False)
    console.print(f"written to {summary.out}", highlight=False, soft_wrap=True)
