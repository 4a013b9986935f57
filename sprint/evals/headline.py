"""The short table of a report as Markdown, for a README: the main rows, and the files that the numbers come from.

It chooses rows and writes them down; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sprint.evals.comparison import Comparison
from sprint.evals.markdown import plain
from sprint.evals.runs import Run
from sprint.evals.summary import Summary
from sprint.evals.table import Line, lines

ROWS = (
    "accuracy",
    "majority guess",
    "pipelined",
    "barrier",
    "paper formula",
    "authors' code",
    "generated",
    "written by the runtime",
    "prompt",
    "prefix hit rate",
    "wall seconds, alone",
    "wall seconds, busy",
)


def headline(summaries: Sequence[Summary], comparisons: Sequence[Comparison], sources: Sequence[Run]) -> str:
    """The table, what its words mean, and the files with their SHA-256."""
    known = {line.name: line for line in lines(summaries, comparisons)}
    ratios = [f"{one.label} / {one.baseline}" for one in comparisons]
    heads = ["mean per problem", *(run.label for run in summaries), *ratios]
    rows = [_row(known[name]) for name in ROWS if name in known]
    files = [
        f"* {plain(file.path)}, {file.num_rows:,} rows, sha256 `{file.sha256}`" for run in sources for file in run.files
    ]
    return "\n".join([_line(heads), "|" + " --- |" * len(heads), *rows, "", _said(summaries), "", *files])


def _row(line: Line) -> str:
    return _line([line.name, *line.cells, *line.ratios])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def _said(summaries: Sequence[Summary]) -> str:
    first, busy = summaries[0], sorted({run.concurrency for run in summaries})
    said = f"{first.task}, {first.num_problems:,} problems; accuracy with Wilson's 95 % interval, ratios with a paired"
    return plain(f"{said} bootstrap interval; busy: with up to {', '.join(map(str, busy))} in flight.")
