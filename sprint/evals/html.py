"""Blocks as HTML. The one place of a report where text becomes markup: everything that is not ours passes `escape`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from sprint.evals.blocks import Block, Cards, Heading, Items, Paragraph, Picture, Quote, Row, SourceList, Table

_WITH_INTERVAL = re.compile(r"([^\[\]]+?) (\[[^\[\]]+\](?:, n = [0-9,]+)?)")


def blocks_as_html(blocks: Iterable[Block]) -> list[str]:
    """The markup of each block."""
    return [_block(block) for block in blocks]


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level} id='{_anchor(block.text)}'>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p{' class=fine' if block.fine else ''}>{escape(block.text)}</p>"
        case Cards():
            return _cards(block)
        case Table():
            return _table(block)
        case Picture():
            label = escape(block.caption, quote=True)
            drawing = f'<div class="wide" role="img" aria-label="{label}">{block.draw()}</div>'
            return f"<figure>{drawing}<figcaption>{_caption(block.caption, block.sources)}</figcaption></figure>"
        case Quote():
            text = f"<pre>{escape(block.text)}</pre>"
            return f"<details><summary>{escape(block.summary)}</summary>{text}</details>" if block.summary else text
        case Items():
            return f"<ul class=fine>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
        case SourceList():
            return _sources(block)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _cards(block: Cards) -> str:
    made = []
    for card in block.cards:
        colour = f" style='color:{escape(card.colour)}'" if card.colour else ""
        parts = (
            f"<b{colour}>{escape(card.value)}</b><span>{escape(card.name)}</span><small>{escape(card.small)}</small>"
        )
        made.append(f"<div class=card>{parts}</div>")
    return f"<section class=cards>{''.join(made)}</section>"


def _table(block: Table) -> str:
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in block.heads)
    rows = "".join(_row(row, len(block.heads)) for row in block.rows)
    caption = f"<p class=fine>{_caption(block.caption, block.sources)}</p>" if block.caption or block.sources else ""
    title = f"<p class=title>{escape(block.title)}</p>" if block.title else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{title}<div class=wide tabindex=0>{table}</div>{caption}"


def _row(row: Row, columns: int) -> str:
    if row.group:
        return f"<tr class=group><th colspan={columns} scope=colgroup>{escape(row.cells[0])}</th></tr>"
    small = f"<small>{escape(row.small)}</small>" if row.small else ""
    cells = "".join(f"<td>{_cell(cell)}</td>" for cell in row.cells[1:])
    return f"<tr><th scope=row>{escape(row.cells[0])}{small}</th>{cells}</tr>"


def _cell(text: str) -> str:
    """A number with its interval under it, or any other cell."""
    found = _WITH_INTERVAL.fullmatch(text)
    return f"{escape(found[1])}<small>{escape(found[2])}</small>" if found else escape(text)


def _caption(text: str, sources: Sequence[int]) -> str:
    links = ", ".join(f"<a href='#run-{number}'>[{number}]</a>" for number in sources)
    return f"{escape(text)}{' From ' + links + '.' if links else ''}"


def _sources(block: SourceList) -> str:
    made = []
    for number, (name, files) in enumerate(block.runs, 1):
        lines = "".join(
            f"<div>{escape(path)}<small>{escape(rest)}</small><code>sha256 {escape(digest)}</code></div>"
            for path, digest, rest in files
        )
        made.append(f"<li id='run-{number}'><b>[{number}] {escape(name)}</b>{lines}</li>")
    return f"<ol class=sources>{''.join(made)}</ol>"
