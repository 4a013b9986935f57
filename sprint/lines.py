r"""Cuts a thought into lines, sentences and newline-delimited pieces, that annotators name by number (paper §3.2, A.2).

Law: `"".join(split(text)) == text`. White space stays with the line before it, so a line says by itself whether a new
line or a new paragraph follows. Numbers (3.14, "1. First"), abbreviations, acronyms, ellipses, factorials and display
maths are not cut. Knows nothing of steps, plans or what the words mean. Time grows with the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# What may end a line. The first character stands alone so that the search can run from one to the next; look-behinds
# then say which one it was.
_NEWLINES = r"[ \t]*\n\s*"
# A formula is one line even where it spans several; the bound keeps a text full of unclosed brackets linear.
_MATHS = (
    r"(?<=\\)\[(?:(?!\\\]|\n\s*\n).){0,1200}?\\\]|(?<=\\)\((?:(?!\\\)|\n).){0,400}?\\\)|"
    r"(?<=\$)\$(?:(?!\$\$|\n\s*\n).){0,1200}?\$\$"
)
# A run of stops is entered only at its start, so that it costs no more than its length.
_STOP = r"(?<![.?!…][.?!…])(?:(?<=…)|(?<=[.?!])[.?!]*)[\"'”’)\]*_]*"
_BREAK = re.compile(
    rf"[\\$\n.?!…](?:(?P<maths>{_MATHS})(?:{_NEWLINES})?|(?P<newline>(?<=\n)\s*)|{_STOP}(?P<space>\s+))", re.S
)

# Abbreviations after which a sentence goes on, and those that may as well end one: then a capital letter decides.
_ABBREVIATIONS = frozenset(
    ["e.g", "i.e", "vs", "cf", "mr", "mrs", "ms", "dr", "prof", "st", "fig", "figs", "eq", "eqs", "resp", "ph.d"]
)
_MAY_END = frozenset(
    ["etc", "no", "nos", "approx", "sq", "ft", "al", "inc", "ltd", "co", "jr", "sr", "a.m", "p.m", "pp"]
)
_WORD_BEFORE = re.compile(r"[A-Za-z](?:[A-Za-z.]*[A-Za-z])?$")
_LIST_NUMBER = re.compile(r"[\s*_#>-]*(?:\d{1,3}|[A-Za-z]|[ivx]{2,4})$")
_ACRONYM = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]$")
_LONGEST_WORD = 24


def split(text: str) -> list[str]:
    """The lines of `text`, in order; together they are exactly `text`."""
    ends = [*_ends(text), len(text)]
    starts = [0, *ends]
    return [text[a:b] for a, b in zip(starts, ends, strict=False) if a < b]


def ends_paragraph(line: str) -> bool:
    """Whether an empty line follows this line."""
    return line[len(line.rstrip()) :].count("\n") > 1


def ends_line(line: str) -> bool:
    """Whether a line break follows this line (rather than the next sentence)."""
    return "\n" in line[len(line.rstrip()) :]


def _ends(text: str) -> Iterator[int]:
    start = 0
    for match in _BREAK.finditer(text):
        if _cuts(text, start, match):
            start = match.end()
            yield start


def _cuts(text: str, start: int, match: re.Match[str]) -> bool:
    kind = match.lastgroup
    if kind == "maths":
        return "\n" in text[match.end("maths") : match.end()]
    if kind == "newline" or "\n" in match["space"]:
        return True
    return _ends_sentence(text, start, match)


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a full stop, question or exclamation mark followed by a space really ends a sentence."""
    at = match.start()
    stop = text[at : match.start("space")].rstrip("\"'”’)]*_")
    following = text[match.end() : match.end() + 1]
    if stop == "…" or stop.startswith(".."):
        return False
    if stop == "!" and _factorial(text, at, following):
        return False
    return stop != "." or not _protected(text, start, at, following)


def _factorial(text: str, at: int, following: str) -> bool:
    before = text[at - 1 : at]
    return (before.isdigit() or before in ")}n") and not following.isupper()


def _protected(text: str, start: int, at: int, following: str) -> bool:
    """Whether the full stop at `at` belongs to a list number, an abbreviation or an acronym."""
    if at - start <= 12 and _LIST_NUMBER.match(text[start:at]):
        return True
    word = _WORD_BEFORE.search(text[max(start, at - _LONGEST_WORD) : at])
    if word is None:
        return False
    if word[0].lower() in _MAY_END:
        return not following.isupper()
    return word[0].lower() in _ABBREVIATIONS or _ACRONYM.match(word[0]) is not None
