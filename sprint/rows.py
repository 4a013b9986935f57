"""Reads a row of teacher data as a trace: which column holds what, and what is wrong with a row that is none.

Rows are plain mappings, from JSON or Parquet alike. Knows nothing of whether the trace is any good.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sprint.errors import InputError
from sprint.types import Trace

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "uid"),
    "question": ("question", "problem"),
    "reasoning": ("reasoning", "reasoning_content", "thought", "thinking"),
    "answer": ("answer", "gold"),
    "response": ("response", "text"),
    "closed": ("closed",),
}
_THINK = re.compile(r"\s*(?:<think>)?(.*?)(?:</think>(.*))?\Z", re.S)


class MalformedRow(InputError):
    """A row that holds no trace: a column is missing or of the wrong type."""


def read_trace(row: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Trace:
    """The trace in a row. Without a reasoning column, the reasoning is what the response holds in its think block."""
    names = columns or {}
    question, response = _text(row, "question", names), _text(row, "response", names)
    reasoning = _text(row, "reasoning", names)
    closed = _value(row, "closed", names)
    if question is None or (reasoning is None and response is None):
        wanted = "question" if question is None else "reasoning"
        listed = ", ".join(sorted(map(str, row))) or "none"
        raise MalformedRow(f"no {wanted} column; found: {listed}")
    if closed is not None and not isinstance(closed, bool):
        raise MalformedRow(f"'closed' is {closed!r}, expected true or false")
    if reasoning is None:
        reasoning, response, closed = _split_think(response or "", closed)
    reasoning = reasoning.strip().removeprefix("<think>").removesuffix("</think>")
    trace = Trace(
        _text(row, "id", names) or "",
        question.strip(),
        reasoning.strip(),
        (_text(row, "answer", names) or "").strip(),
        (response or "").strip(),
        closed is not False,
    )
    return trace if trace.id else _with_id(trace)


def _with_id(trace: Trace) -> Trace:
    """The trace under an id made from its own text: the same wherever and whenever it is read."""
    return Trace(f"trace-{digest(trace)[:16]}", *(getattr(trace, name) for name in Trace.__slots__[1:]))


def _split_think(text: str, closed: bool | None) -> tuple[str, str, bool]:
    """Reasoning, what follows it, and whether the think block was closed."""
    match = _THINK.match(text)
    assert match is not None, "every part of the pattern may be empty"
    return match[1], match[2] or "", match[2] is not None and closed is not False


def _value(row: Mapping[str, Any], name: str, columns: Mapping[str, str]) -> Any:
    candidates = (columns[name],) if name in columns else ALIASES[name]
    return next((row[column] for column in candidates if row.get(column) is not None), None)


def _text(row: Mapping[str, Any], name: str, columns: Mapping[str, str]) -> str | None:
    value = _value(row, name, columns)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and name in ("id", "answer"):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise MalformedRow(f"'{name}' is a {type(value).__name__}, expected text")
    if value is not None and writable(value) != value:
        raise MalformedRow(f"'{name}' holds half a surrogate pair, which is not text")
    return value


def id_or_empty(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """The id of a row that may be malformed otherwise."""
    value = _value(row, "id", columns)
    return value if isinstance(value, str) else ""


def digest(trace: Trace) -> str:
    """What duplicates have in common: the question and the reasoning, white space aside."""
    parts = (" ".join(text.split()) for text in (trace.question, trace.reasoning))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def writable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
