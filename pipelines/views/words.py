"""How names and measured numbers are written for people, on pages and in the terminal alike."""

from __future__ import annotations

NOT_MEASURED = "–"


def percent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1%}"


def number(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def words(name: str) -> str:
    """A name of the code in words: `low_ratio` is "low ratio"."""
    return name.replace("_", " ")
