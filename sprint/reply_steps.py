"""Reads the steps in a reply as they are written: parts and line numbers, not yet whether they make sense.

It knows the spellings: `P41 E43`, numbered or bulleted, `Plan: Lines 41-42` under a heading, JSON of either. It does
not know how many lines there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sprint.model_text import Unreadable, quoted, without_emphasis, without_remarks

_NAMES = {"p": "plan", "e": "execution", "c": "comment"}
_DASH = r"(?:[-–—−]|\.\.+|to\b|through\b)"
_NUMBER = r"(\d{1,9})(?!\d)"
_SPAN = re.compile(rf"{_NUMBER}(?:\s*{_DASH}\s*{_NUMBER})?(?:\s*(?:,\s*and\b|,|&|and\b)\s*(?:lines?\s*)?(?=\d))?", re.I)
_NAME = re.compile(
    r"[\s,;|/&+–—-]*(?P<name>plan(?:ning)?|exec(?:ution|ute)?|comment(?:ary|ing)?|[PEC])(?![A-Za-z])\s*[:=]?\s*"
    r"(?P<lines>lines?\b\s*[:#]?\s*)?(?P<none>(?:not found|none|n/a|null|-+(?!\d)|—)(?!\w))?",
    re.I,
)
_LEAD = re.compile(
    r"[\s>#|•·*+-]*(?:[(\[]?\d+\s*(?:[.):|\]]+\s*|(?=\s[PEC]\s?\d)))?(?:(?:component|step)\s*#?(?P<number>\d+)\s*(?=[:.(|\[–—-]|$|[PEC]\d))?"
    r"[\s:.|–—-]*",
    re.I,
)
_INSTRUCTION = re.compile(r"(?:prompt|instruction|task)\s*:\s*", re.I)
_ARROW = re.compile(r"[>→]")
_SAME_PART = re.compile(r"\b([PEC])(\d+)\s*[-–—]\s*\1(\d+)", re.I)  # E43-E51


class Part(NamedTuple):
    """A part of a step: plan, execution or comment. `last` None: up to the part that follows."""

    name: str
    first: int
    last: int | None


@dataclass
class Draft:
    """A step as it is being read. `headed`: under a heading. `is_open`: further lines may add parts to it."""

    parts: list[Part] = field(default_factory=list)
    instruction: str = ""
    headed: bool = False
    is_open: bool = False

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]


def read_drafts(text: str, value: Any | None = None) -> list[Draft]:
    """The steps in a reply's text, or in the JSON `value` found in it. Raises Unreadable."""
    if value is None:
        return _of_lines(text.splitlines())
    items = value.get("steps") if isinstance(value, Mapping) else value
    if not isinstance(items, list):
        raise Unreadable("the JSON has no list 'steps'")
    return [_of_item(item) for item in items]


# --- lines of text ---------------------------------------------------------------------------------------------------


def _of_lines(lines: Sequence[str]) -> list[Draft]:
    drafts: list[Draft] = []
    for line in lines:
        _take(line.strip(), drafts)
    return drafts


def _take(line: str, drafts: list[Draft]) -> None:
    """Reads one line: a step, a heading, a part of the step under a heading, or prose, which is passed over."""
    head, told = _split_instruction(line)
    plain = without_emphasis(head)
    lead = _lead(plain)
    rest = plain[lead.end() :]
    parts, names, remainder = _parts(rest)
    if not names:
        _take_wordless(rest, lead["number"] is not None, drafts)
        return
    current = drafts[-1] if drafts else None
    if lead["number"] or not _joins(current, names):
        in_words = all(len(name) > 1 for name in names)
        current = Draft(is_open=in_words)
        drafts.append(current)
    assert current is not None, "a line joins only a step that is there"
    if remainder and not (current.is_open and not re.search(r"\d", remainder)):
        raise Unreadable(f"the line {quoted(line)} cannot be read, expected parts such as P1 E4")
    current.parts += parts
    current.instruction = told or current.instruction


def _split_instruction(line: str) -> tuple[str, str]:
    """What stands before an arrow and what after it. A line that is quoted begins with one that means nothing."""
    head, *told = _ARROW.split(line.lstrip("> \t"), maxsplit=1)
    return head.rstrip("-=–— \t"), told[0].strip() if told else ""


def _lead(plain: str) -> re.Match[str]:
    lead = _LEAD.match(plain)
    assert lead is not None, "every part of the pattern may be empty"
    return lead


def _joins(current: Draft | None, names: Sequence[str]) -> bool:
    """Whether parts belong to the step before: it stands under a heading, or is spelled out one part a line."""
    if current is None or not current.is_open:
        return False
    return current.headed or not {_NAMES[name[0].lower()] for name in names} & set(current.names)


def _take_wordless(rest: str, is_heading: bool, drafts: list[Draft]) -> None:
    """Reads a line that names no part."""
    current = drafts[-1] if drafts and drafts[-1].is_open else None
    if is_heading:
        drafts.append(Draft(headed=True, is_open=True))
    elif current and (instruction := _INSTRUCTION.match(rest)):
        current.instruction = rest[instruction.end() :].strip()
    elif current and (name := _NAME.match(rest)) and ":" in name[0]:
        raise Unreadable(f"the line {quoted(rest)} names no lines, expected such as Lines 4-9")


def _parts(text: str) -> tuple[list[Part], list[str], str]:
    """The parts that open a line, the names they bear (of parts said to be missing, too), and what is left unread."""
    head = without_remarks(_SAME_PART.sub(r"\1\2-\3", text))
    parts: list[Part] = []
    names: list[str] = []
    at = 0
    while name := _NAME.match(head, at):
        spans, end = _spans(head, name.end())
        if not spans and not name["none"]:
            break
        names.append(name["name"])
        parts += [_part(name, spans)] if spans else []
        at = end
    return parts, names, head[at:].strip(" \t,;.|)]")


def _spans(text: str, at: int) -> tuple[list[tuple[int, int | None]], int]:
    """The numbers at `at`, as in `3, 5-7 and 9`, and where they end."""
    found: list[tuple[int, int | None]] = []
    while span := _SPAN.match(text, at):
        found.append((int(span[1]), int(span[2]) if span[2] else None))
        at = span.end()
    return found, at


def _part(name: re.Match[str], spans: Sequence[tuple[int, int | None]]) -> Part:
    """A part from its numbers. Several spans are one from the first to the last; in words, one number is one line."""
    in_words = len(name["name"]) > 1 or name["lines"] is not None or len(spans) > 1
    start, last = spans[-1]
    if last is None and in_words:
        last = start
    return Part(_NAMES[name["name"][0].lower()], spans[0][0], last)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _of_item(item: Any) -> Draft:
    if isinstance(item, str):
        drafts = _of_lines([item])
        if len(drafts) != 1 or (drafts[0].headed and not drafts[0].parts):
            raise Unreadable(f"the step {quoted(item)} cannot be read, expected parts such as P1 E4")
        return drafts[0]
    if not isinstance(item, Mapping):
        raise Unreadable(f"the step {quoted(item)} cannot be read, expected text such as 'P1 E4'")
    values = {str(key).lower(): value for key, value in item.items()}
    parts = [_part_of(name, values[name]) for name in _NAMES.values() if values.get(name) not in (None, "", [])]
    told = values.get("instruction") or values.get("prompt") or ""
    return Draft([part for part in parts if part], str(told).strip())


def _part_of(name: str, value: Any) -> Part | None:
    """A part from `[4, 9]`, `4` or `"Lines 4-9"`; None where the text says that there is none."""
    if isinstance(value, list) and 1 <= len(value) <= 2:
        value = "-".join(map(str, value))
    parts, names, remainder = _parts(f"{name}: {value}")
    if len(names) != 1 or remainder:
        raise Unreadable(f"the {name} {quoted(value)} cannot be read, expected such as [4, 9]")
    return parts[0] if parts else None
