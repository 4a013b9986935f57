"""Reads the parents in a reply as they are written: steps and the steps they name, not yet whether those exist.

It knows the spellings: `5: 1, 3` a line, a list of lists, a dict in JSON's or Python's writing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sprint.model_text import Unreadable, json_in, quoted, without_emphasis, without_remarks

Given = list[tuple[int, tuple[int, ...]]]

_NEXT_ENTRY = re.compile(r"\n|;(?=\s*(?:step\s*)?\d+\s*[:<←])", re.I)
# The possessive `*+` never gives back: of two runs of white space with nothing between them, either could have each.
_ENTRY = re.compile(
    r"[\s>|•·*+-]*+(?:step|node|component)?\s*+#?(\d{1,9})(?!\d)[\s\"']*+"
    r"(?::|<-+|←|\bdepends on\b|\bneeds\b)\s*(.*)",
    re.I,
)
_NUMBER = re.compile(r"(?<!\d)\d{1,9}(?!\d)")
_ALLOWED = re.compile(
    rf"^[-–—∅]+$|{_NUMBER.pattern}|\b(?:steps?|nodes?|and|none|nothing|n/a|null|no parents?)\b|[][(){{}}\s,&#;]", re.I
)
_STEP_NUMBER = re.compile(r"\s*+(?:steps?|nodes?|components?)?\s*+#?(\d{1,9})\s*", re.I)


def read_parents(text: str) -> Given:
    """Each step that the reply gives parents for, in its order. Raises Unreadable (or BrokenJSON)."""
    value = json_in(text)
    if value is None:
        return _of_lines(text)
    if isinstance(value, Mapping) and "parents" in value and "step" not in value:
        value = value["parents"]
    if isinstance(value, Mapping):
        return [(_number(key), _numbers(parents)) for key, parents in value.items()]
    if not isinstance(value, list):
        raise Unreadable("the JSON has no list 'parents'")
    if value and all(isinstance(item, str) for item in value):
        return _of_lines("\n".join(value))
    return [_of_item(step, item) for step, item in enumerate(value, 1)]


def _of_item(step: int, item: Any) -> tuple[int, tuple[int, ...]]:
    """One of a list: the parents of the step that stands there, or an object that says which step it is."""
    if isinstance(item, Mapping) and "step" in item:
        return _number(item["step"]), _numbers(item.get("parents"))
    return step, _numbers(item)


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise Unreadable(f"the parents {quoted(value)} cannot be read, expected a list of steps")
    return tuple(map(_number, value))


def _number(value: Any) -> int:
    """A step's number from `5`, `"5"` or `"Step 5"`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _STEP_NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unreadable(f"{quoted(value)} is not the number of a step")
    return int(found[1])


def _of_lines(text: str) -> Given:
    entries = (_ENTRY.fullmatch(without_emphasis(line).strip()) for line in _NEXT_ENTRY.split(text))
    return [(int(entry[1]), _named(entry)) for entry in entries if entry]


def _named(entry: re.Match[str]) -> tuple[int, ...]:
    """The steps that an entry names; a remark in brackets is passed over where something stands beside it."""
    said = entry[2].rstrip(" .;")
    for words in (said, without_remarks(said).strip() or "?"):
        if not _ALLOWED.sub("", words):
            return tuple(map(int, _NUMBER.findall(words)))
    raise Unreadable(f"the line {quoted(entry[0])} cannot be read, expected such as 5: 1, 3")
