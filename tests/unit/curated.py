"""A few recorded rows of every kind, and a run folder that holds them, for tests of what people look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.record.rows import Recorded, to_table
from pipelines.views.summary import CurationSummary, Tally
from sprint.curate import CurationOptions, curate_row, malformed
from sprint.requests import AnnotationUsage, Exchange, Purpose
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task

SPENT = AnnotationUsage(2, 1, 0, 900, 300, 50, 1.5)


def _rows() -> list[Recorded]:
    """Six kept rows, one with replies; one dropped before it was annotated, one after, one no trace at all."""
    task = get_task("chains", num_chains=4)
    names = ("id", "question", "reasoning", "answer", "response")
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), 8)]
    raw: list[dict[str, Any]] = [{name: getattr(trace, name) for name in names} for trace in traces]
    raw[6]["answer"] = raw[6]["answer"] + "0"
    options = [CurationOptions()] * 7 + [CurationOptions(min_ratio=99.0)]
    rows = [curate_row(row, RulesAnnotator(), option) for row, option in zip(raw, options, strict=True)]
    rows = [replace(row, level=str(at % 2), subject="Algebra") for at, row in enumerate(rows)]
    rows[0] = replace(rows[0], usage=SPENT)
    exchange = Exchange("key", Purpose.STEPS, "Step 1: lines 1-2", truncated=True)
    recorded = [Recorded(row, at, f"a.jsonl row {at}") for at, row in enumerate([*rows, malformed("", "no question")])]
    recorded[0] = replace(recorded[0], exchanges=(exchange,), cost=0.002)
    return recorded


ROWS = _rows()


def summarise(rows: Sequence[Recorded], out: str = "out", seconds: float = 1.0) -> tuple[CurationSummary, Tally]:
    tally = Tally(7, "characters")
    for row in rows:
        tally.add(row)
    return tally.summary(out, seconds), tally


def run_folder(folder: Path, rows: Sequence[Recorded] = ROWS) -> str:
    """A run folder whose parts hold rows out of order."""
    import pyarrow.parquet as pq

    (folder / "rows").mkdir(parents=True)
    for number, part in enumerate((rows[1::2], rows[::2])):
        pq.write_table(to_table(part), folder / "rows" / f"part-{number}.parquet", row_group_size=2)
    return str(folder)
