"""The pieces that the curation's pages are made of: one self-contained document, tables, cards, lines and packed texts.

No scripts and nothing from outside. Everything that came from data passes `escape`. Knows no runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pipelines.views.rowview import LineView, Role, RowView
from sprint import page

_STYLE = Path(__file__).with_name("report.css")
_TAG = re.compile(r"&lt;/?(?:think|Plan_\d+|Execution_\d+|Final_answer|prompt_\d+\.\d+|execution_\d+\.\d+)&gt;")
_GOLDEN_ANGLE = 137.5  # neighbouring rounds get hues far apart


def document(title: str, body: Iterable[str], style: str = "") -> str:
    """A whole page."""
    return page.document(title, _STYLE.read_text(encoding="utf-8") + style, body)


def card(value: str, name: str, small: str = "") -> str:
    return f"<div class='card'><b>{escape(value)}</b><span>{escape(name)}</span><small>{escape(small)}</small></div>"


def cards(found: Iterable[str]) -> str:
    return f"<section class='cards'>{''.join(found)}</section>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Cells are text, escaped here; the first `text_columns` are names, the rest numbers."""
    head = "".join(f"<th{_left(i, text_columns)}>{escape(name)}</th>" for i, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{_left(i, text_columns)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _left(column: int, text_columns: int) -> str:
    return " class='name'" if column < text_columns else ""


def hue(round: int) -> str:
    """The style that gives an element the colour of a round; none outside all rounds."""
    return f" style='--h:{(200 + (round - 1) * _GOLDEN_ANGLE) % 360:.0f}'" if round else ""


def tagged(text: str) -> str:
    """A packed text with its tags highlighted."""
    return _TAG.sub(lambda match: f"<span class='tag'>{match[0]}</span>", escape(text))


def raw_lines(view: RowView, anchors: bool = False) -> str:
    """The raw trace: each line with its number, its step and what it does there, in the colour of its round."""
    previous, rows = -1, []
    for line in view.lines:
        rows.append(_raw_line(view, line, line.step != previous, anchors))
        previous = line.step
    return f"<div class='lines'>{''.join(rows)}</div>"


def _raw_line(view: RowView, line: LineView, opens: bool, anchors: bool) -> str:
    shown = f"S{line.step}" if line.step and opens else ""
    if shown and anchors:
        shown = f"<a href='#n{line.step}'>{shown}</a>"
    kinds = ["l", str(line.role) or "outside", *(["opens"] if opens else []), *([f"s{line.step}"] if line.step else [])]
    at = f" id='l{line.number}'" if anchors else ""
    text = escape(line.text.strip()) + ("<br>" if line.text.count("\n") > 1 else "")
    return (
        f"<div class='{' '.join(kinds)}'{at}{hue(view.round_of(line))} title='{_hint(view, line)}'>"
        f"<i>{line.number}</i><b>{shown}</b><span>{text}</span></div>"
    )


def _hint(view: RowView, line: LineView) -> str:
    if line.role is Role.NONE:
        return "in no step"
    found = view.round_of(line)
    return f"step {line.step}, {line.role}" + (f", round {found}" if found else "")
