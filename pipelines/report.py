"""The curation's page: counts, the distribution of the ratio, and a few traces before and after. One file, no scripts.

Knows the summary and the example rows; draws its one chart as inline SVG and escapes everything that came from data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pipelines.summary import CurationSummary
from sprint.curate import Curated
from sprint.files import write_text

_STYLE = """<style>
:root { color-scheme: light dark; --ink: light-dark(#1c2733, #dfe6ee); --soft: light-dark(#5b6b7b, #93a3b3);
  --rule: light-dark(#d5dde5, #36424e); --fill: light-dark(#2f6fb0, #6ea8e0); --paper: light-dark(#fff, #14191f); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } p.note { color: var(--soft); }
table { border-collapse: collapse; }
td, th { padding: .25rem .9rem; border-bottom: 1px solid var(--rule); text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.45 ui-monospace, monospace;
  border: 1px solid var(--rule); padding: .8rem; max-height: 44rem; overflow-y: auto; }
.tag { color: var(--fill); font-weight: 600; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg rect { fill: var(--fill); } svg line { stroke: var(--soft); }
</style>"""
_TAG = re.compile(r"&lt;/?(?:think|Plan_\d+|Execution_\d+|Final_answer|prompt_\d+\.\d+|execution_\d+\.\d+)&gt;")


def write_report(path: Path, summary: CurationSummary, examples: Sequence[Curated]) -> None:
    """Writes the page to `path`."""
    parts = [
        "<h1>Curation</h1>",
        f"<p>{summary.num_rows} rows read, {summary.num_kept} kept ({summary.kept_share:.1%}). Kept trajectories have "
        f"on average {summary.mean_rounds_kept:.1f} rounds and {summary.mean_executions_kept:.1f} executions, "
        f"a ratio of {summary.mean_ratio_kept:.2f}.</p>",
        f"<h2>Where the rows went</h2>{_counts(summary)}",
        "<h2>Parallelism ratio</h2><p class=note>Executed steps per round, of every trace that was packed into rounds, "
        f"dropped ones too.</p>{_histogram(summary.ratios)}",
        "<h2>Before and after</h2>",
        *(_example(row) for row in examples),
        "" if examples else "<p class=note>No row was kept.</p>",
    ]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Curation</title>{_STYLE}"
    write_text(path, f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n")


def _counts(summary: CurationSummary) -> str:
    rows = [("kept", summary.num_kept), *((str(reason), count) for reason, count in summary.dropped.items())]
    cells = (
        f"<tr><td>{escape(name.replace('_', ' '))}<td class=n>{count}<td class=n>{count / summary.num_rows:.1%}"
        for name, count in rows
    )
    return f"<table><tr><th>row<th>count<th>share{''.join(cells)}</table>"


def _histogram(ratios: dict[float, int]) -> str:
    """Bars over ratio bins of 0.5, with their counts."""
    if not ratios:
        return "<p class=note>No trace was packed.</p>"
    most, bars = max(ratios.values()), []
    for start, count in ratios.items():
        x, height = 30 + start * 2 * 44, 150 * count / most
        bars.append(f"<rect x={x:.0f} y={170 - height:.1f} width=38 height={height:.1f} />")
        bars.append(f"<text x={x + 19:.0f} y={164 - height:.1f} text-anchor=middle>{count}</text>")
        bars.append(f"<text x={x:.0f} y=188 text-anchor=middle>{start:g}</text>")
    width = 100 + max(ratios) * 2 * 44
    axis = f"<line x1=20 y1=170 x2={width:.0f} y2=170 />"
    size = f"viewBox='0 0 {width:.0f} 200' width='{width:.0f}'"
    return f"<svg {size} role=img aria-label='ratio histogram'>{axis}{''.join(bars)}</svg>"


def _example(row: Curated) -> str:
    sizes = f"{row.num_lines} lines, {row.num_steps} steps, {row.num_rounds} rounds, {row.num_executions} executions"
    facts = f"{sizes}, ratio {row.ratio:.2f}"
    after = _TAG.sub(lambda match: f"<span class=tag>{match[0]}</span>", escape(row.sprint_text))
    return (
        f"<h3>{escape(row.id)}</h3><p>{escape(row.question)}</p><p class=note>{facts}</p><div class=pair>"
        f"<div>sequential<pre>{escape(row.reasoning)}</pre></div><div>in rounds<pre>{after}</pre></div></div>"
    )
