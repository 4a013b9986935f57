"""Counts what a curation keeps, drops and spends, row by row. Knows rows and numbers, not files, Ray or pages.

A `Tally` is fed every row in input order and holds counters and a few examples, never the rows. What it counted is a
`CurationSummary`.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.record.rows import Recorded
from pipelines.views.counters import Distribution, Group, Groups, Histogram, rounded, share
from pipelines.views.spending import Spending, Spent
from sprint.curated import Curated
from sprint.types import DropReason

NUM_EXAMPLES = 3
_READABLE_CHARS = 5_000  # a longer example is not read by anyone
# What is counted of every trace that was packed into rounds: the bins' width and the start of the last, open one.
_BINS = {"ratio": (0.5, 8.0), "step_ratio": (0.5, 8.0), "width": (1, 16), "rounds": (1, 20), "coverage": (0.05, 1.0)}
_SEQUENTIAL_BINS = (0.1, 1.2)


@dataclass(frozen=True, slots=True)
class Sequential:
    """Lengths that are waited for, over the kept rows: the whole thought before, the longest path through it after."""

    unit: str
    before: int
    after: int
    ratios: Distribution

    @property
    def ratio(self) -> float | None:
        return share(self.after, self.before)

    def as_dict(self) -> dict[str, Any]:
        ratios: dict[str, Any] = {"ratio": rounded(self.ratio), "mean_ratio": rounded(self.ratios.mean_kept)}
        ratios["ratio_histogram"] = self.ratios.as_dict()["kept"]
        return {"unit": self.unit, "before": self.before, "after": self.after} | ratios


@dataclass(frozen=True)
class CurationSummary:
    """What a curation did. `seconds` and `out` are of this one run and in no file.

    distributions   ratio, step_ratio, width, rounds and coverage of the traces that were annotated
    first_details   for each drop reason the first row it met: its id and what was wrong
    num_leaky       kept rows in which a dependency was added because one execution used a sibling's result
    """

    out: Path | str
    num_rows: int
    num_kept: int
    dropped: Mapping[DropReason, int]
    first_details: Mapping[DropReason, tuple[str, str]]
    distributions: Mapping[str, Distribution]
    mean_executions_kept: float
    levels: tuple[Group, ...]
    subjects: tuple[Group, ...]
    sequential: Sequential
    spending: Spending
    num_added_edges: int
    num_leaky: int
    seconds: float

    @property
    def kept_share(self) -> float:
        return self.num_kept / self.num_rows if self.num_rows else 0.0

    @property
    def num_duplicates(self) -> int:
        return self.dropped.get(DropReason.DUPLICATE, 0)

    @property
    def mean_ratio_kept(self) -> float:
        return self.distributions["ratio"].mean_kept or 0.0

    @property
    def mean_rounds_kept(self) -> float:
        return self.distributions["rounds"].mean_kept or 0.0

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: everything but the clock and the place, so that equal inputs give equal files."""
        return {
            "num_rows": self.num_rows,
            "num_kept": self.num_kept,
            "kept_share": round(self.kept_share, 4),
            "num_duplicates": self.num_duplicates,
            "dropped": {str(reason): count for reason, count in self.dropped.items()},
            "distributions": {name: found.as_dict() for name, found in self.distributions.items()},
            "mean_executions_kept": round(self.mean_executions_kept, 4),
            "levels": [group.as_dict() for group in self.levels],
            "subjects": [group.as_dict() for group in self.subjects],
            "sequential": self.sequential.as_dict(),
            "annotation": self.spending.as_dict(),
            "leaks": {"num_added_edges": self.num_added_edges, "num_rows": self.num_leaky},
        }


@dataclass
class Tally:
    """The running counts, and the few kept rows that the report shows: chosen by a seeded hash, readable ones first.

    `unit` says what `sequential_before` and `sequential_after` count: tokens or characters.
    """

    seed: int = 0
    unit: str = "characters"
    num_rows: int = 0
    _reasons: Counter[DropReason] = field(default_factory=Counter)
    _details: dict[DropReason, tuple[str, str]] = field(default_factory=dict)
    _histograms: dict[str, Histogram] = field(default_factory=lambda: {n: Histogram(*b) for n, b in _BINS.items()})
    _paths: Histogram = field(default_factory=lambda: Histogram(*_SEQUENTIAL_BINS))
    _levels: Groups = field(default_factory=Groups)
    _subjects: Groups = field(default_factory=Groups)
    _kept: Counter[str] = field(default_factory=Counter)
    _spent: Spent = field(default_factory=Spent)
    _examples: list[tuple[int, int, Recorded]] = field(default_factory=list)

    def add(self, recorded: Recorded) -> None:
        """Counts one row."""
        row = recorded.row
        self.num_rows += 1
        self._spent.add(recorded)
        self._measure(row)
        for groups, name in ((self._levels, row.level), (self._subjects, row.subject)):
            groups.add(name, row.num_rounds, row.ratio, row.is_kept, row.sequential_before, row.sequential_after)
        if row.reason is not None:
            self._reasons[row.reason] += 1
            self._details.setdefault(row.reason, (row.id, row.detail))
            return
        self._keep(row)
        self._consider(recorded)

    def _measure(self, row: Curated) -> None:
        if row.num_rounds:
            for name in ("ratio", "step_ratio", "width"):
                self._histograms[name].add(getattr(row, name), row.is_kept)
            self._histograms["rounds"].add(row.num_rounds, row.is_kept)
        if row.num_rounds or row.coverage:
            self._histograms["coverage"].add(row.coverage, row.is_kept)

    def _keep(self, row: Curated) -> None:
        self._kept["executions"] += row.num_executions
        self._kept["added_edges"] += row.num_added_edges
        self._kept["leaky"] += bool(row.num_added_edges)
        if row.sequential_before:
            self._kept["before"] += row.sequential_before
            self._kept["after"] += row.sequential_after
            self._paths.add(row.sequential_after / row.sequential_before)

    def _consider(self, recorded: Recorded) -> None:
        row = recorded.row
        digest = hashlib.sha256(f"{self.seed} {row.digest} {recorded.position}".encode()).hexdigest()
        readable = row.num_rounds > 1 and len(row.reasoning) <= _READABLE_CHARS
        entry = (int(readable), int(digest[:15], 16), recorded)
        if len(self._examples) < NUM_EXAMPLES:
            heapq.heappush(self._examples, entry)
        elif entry[:2] > self._examples[0][:2]:
            heapq.heapreplace(self._examples, entry)

    @property
    def examples(self) -> list[Recorded]:
        return [row for _, _, row in sorted(self._examples, key=lambda entry: entry[:2], reverse=True)]

    def summary(self, out: Path | str, seconds: float) -> CurationSummary:
        """What was counted so far."""
        num_kept, kept = self.num_rows - self._reasons.total(), self._kept
        return CurationSummary(
            out=out,
            num_rows=self.num_rows,
            num_kept=num_kept,
            dropped={reason: self._reasons[reason] for reason in DropReason if self._reasons[reason]},
            first_details={reason: self._details[reason] for reason in DropReason if reason in self._details},
            distributions={name: histogram.distribution() for name, histogram in self._histograms.items()},
            mean_executions_kept=kept["executions"] / max(num_kept, 1),
            levels=self._levels.groups(),
            subjects=self._subjects.groups(),
            sequential=Sequential(self.unit, kept["before"], kept["after"], self._paths.distribution()),
            spending=self._spent.spending(),
            num_added_edges=kept["added_edges"],
            num_leaky=kept["leaky"],
            seconds=seconds,
        )
