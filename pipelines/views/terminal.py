"""The counts of a curation in the terminal: a table of where the rows went, and a line for each thing worth telling.

Knows the summary, not how it was counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.views.summary import CurationSummary
from pipelines.views.words import words


def print_summary(summary: CurationSummary) -> None:
    """The counts as a table in the terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(f"curated {summary.num_rows:,} rows in {summary.seconds:.1f} s")
    console.print(_table(summary))
    console.print("\n".join([*_facts(summary), f"written to {summary.out}"]), soft_wrap=True)


def _table(summary: CurationSummary) -> Any:
    from rich.table import Table

    table = Table()
    for heading, justify in (("row", "left"), ("count", "right"), ("share", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, count in [("kept", summary.num_kept), *summary.dropped.items()]:
        portion = f"{count / max(summary.num_rows, 1):.1%}"
        table.add_row(words(str(name)), f"{count:,}", portion, end_section=name == "kept")
    return table


def _facts(summary: CurationSummary) -> Iterator[str]:
    """One line each, where there is anything to tell."""
    if summary.num_kept:
        width = summary.distributions["width"].mean_kept or 0.0
        yield (
            f"kept, on average: {summary.mean_rounds_kept:.1f} rounds, {summary.mean_executions_kept:.1f} executions, "
            f"ratio {summary.mean_ratio_kept:.2f}, widest round {width:.1f}"
        )
    lengths = summary.sequential
    if lengths.ratio is not None:
        yield f"sequential {lengths.unit}: {lengths.before:,} before, {lengths.after:,} after ({lengths.ratio:.0%})"
    if summary.num_added_edges:
        yield f"sibling leaks: {summary.num_added_edges:,} dependencies added in {summary.num_leaky:,} kept rows"
    if summary.spending.num_rows:
        usage = summary.spending.usage
        spent = f", cost {summary.spending.cost:,.4f}" if summary.spending.cost else ""
        cached = "" if usage.cached_tokens is None else f" ({usage.cached_tokens:,} cached)"
        yield (
            f"annotator: {usage.num_calls:,} calls, {usage.prompt_tokens:,} prompt tokens{cached}, "
            f"{usage.output_tokens:,} output tokens{spent}"
        )
