"""Blocks as Markdown, for a README or a terminal. Text that is not ours is escaped or fenced; drawings are left to the
page, whose numbers stand in the tables beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sprint.evals.blocks import Block, Cards, Heading, Items, Paragraph, Picture, Quote, Row, SourceList, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$])")
_LONGEST_QUOTE = 1200  # characters; the page has the whole text


def blocks_as_markdown(blocks: Iterable[Block]) -> str:
    """The blocks, an empty line between any two."""
    return "\n\n".join(text for text in map(_block, blocks) if text) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {plain(block.text)}"
        case Paragraph():
            return plain(block.text)
        case Cards():
            return "\n".join(f"- **{plain(c.value)}** {plain(c.name)} ({plain(c.small)})" for c in block.cards)
        case Table():
            return _table(block)
        case Picture():
            return f"*{_caption('Drawn on the page: ' + block.caption, block.sources)}*"
        case Quote():
            return _quote(block)
        case Items():
            return "\n".join(f"- {plain(item)}" for item in block.items)
        case SourceList():
            return _sources(block)


def plain(text: str) -> str:
    """Text with nothing in it that Markdown would read as markup, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(block: Table) -> str:
    lines = [
        _line(block.heads),
        "|" + " --- |" * len(block.heads),
        *(_row(row, len(block.heads)) for row in block.rows),
    ]
    caption = _caption(block.caption, block.sources)
    title = f"**{plain(block.title)}**\n\n" if block.title else ""
    return title + "\n".join(lines) + (f"\n\n{caption}" if caption else "")


def _row(row: Row, columns: int) -> str:
    first = f"**{plain(row.cells[0])}**" if row.group else plain(row.cells[0] + (f": {row.small}" if row.small else ""))
    rest = [plain(cell) for cell in row.cells[1:]]
    return f"| {' | '.join([first, *rest, *[''] * (columns - 1 - len(rest))])} |"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def _caption(text: str, sources: Sequence[int]) -> str:
    numbers = ", ".join(f"\\[{number}\\]" for number in sources)
    return f"{plain(text)}{' From ' + numbers + '.' if numbers else ''}".strip()


def _quote(block: Quote) -> str:
    text = block.text
    if len(text) > _LONGEST_QUOTE:
        text = f"{text[:_LONGEST_QUOTE]}\n[… {len(block.text) - _LONGEST_QUOTE} more characters on the page]"
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return (f"{plain(block.summary)}:\n\n" if block.summary else "") + f"{fence}text\n{text}\n{fence}"


def _sources(block: SourceList) -> str:
    lines = []
    for number, (name, files) in enumerate(block.runs, 1):
        lines.append(f"- \\[{number}\\] {plain(name)}")
        lines += [f"  - {plain(path)}, {plain(rest)}, sha256 `{digest}`" for path, digest, rest in files]
    return "\n".join(lines)
