"""The report as one self-contained HTML page (no script, no network, light and printable) and as Markdown.

It knows the order of the sections, and nothing of what stands in them.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from sprint.evals.blocks import Block
from sprint.evals.html import blocks_as_html
from sprint.evals.markdown import blocks_as_markdown, plain
from sprint.evals.report import Report
from sprint.evals.sections.answers import answers
from sprint.evals.sections.lengths import lengths
from sprint.evals.sections.overview import overview
from sprint.evals.sections.rounds import rounds
from sprint.evals.sections.sources import sources
from sprint.page import document

_STYLE = Path(__file__).with_name("report.css")


def page(report: Report) -> str:
    """The whole page."""
    header = f"<header><h1>{escape(report.title)}</h1><p class=subtitle>{escape(_subtitle(report))}</p></header>"
    style = _STYLE.read_text(encoding="utf-8")
    return document(report.title, style, [header, *blocks_as_html(_contents(report))])


def markdown(report: Report) -> str:
    """The same as Markdown, without the drawings."""
    return f"# {plain(report.title)}\n\n{plain(_subtitle(report))}\n\n{blocks_as_markdown(_contents(report))}"


def _contents(report: Report) -> list[Block]:
    return [*overview(report), *lengths(report), *rounds(report), *answers(report), *sources(report)]


def _subtitle(report: Report) -> str:
    first = report.findings[0]
    result = first.run.results[0]
    sampling = "greedy" if result.temperature == 0 else f"temperature {result.temperature:g}"
    return f"{result.task} · {first.summary.num_problems:,} held-out problems · {sampling}"
