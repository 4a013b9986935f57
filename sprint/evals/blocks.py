"""The parts that a report is made of, before it is HTML or Markdown. Every text in them is plain: whoever marks it up
escapes it, so that no model's words become markup. It knows no report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; a `fine` one is a remark in small print."""

    text: str
    fine: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One number with its name and what is to be said beside it."""

    value: str
    name: str
    small: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a table; the first is the row's name, `small` explains it. A `group` row is a heading of its own."""

    cells: tuple[str, ...]
    small: str = ""
    group: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `caption` says what the numbers are of; `sources` are the runs they come from, as numbered below.

    `title` stands above it. Intervals in brackets at the end of a cell may be set smaller.
    """

    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    sources: tuple[int, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing: `draw` gives its SVG, markup of ours, to whoever shows it.

    `caption` says what is drawn, of how many problems, with which intervals.
    """

    draw: Callable[[], str]
    caption: str
    sources: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """A text that somebody else wrote, shown as it is; folded away behind `summary` where there is one."""

    text: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A list in small print."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceList:
    """The runs that numbers trace to, numbered from 1: for each its name and its files, each (path, SHA-256, rest)."""

    runs: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]


Block = Heading | Paragraph | Cards | Table | Picture | Quote | Items | SourceList
