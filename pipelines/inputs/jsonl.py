"""Rows of a JSONL file: where shards begin, in bytes, and the objects of one shard.

Knows bytes and JSON, not where the file is: it is handed an open one. Lines may end in LF or CRLF, the file may begin
with a byte order mark, lines without text are no rows. A line that is no JSON object is a row with an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_LINE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 8 * 1024 * 1024  # what one request of a remote file asks for
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Span:
    """Rows that stand together: the first one's line number (from 1), how many, and their bytes in the file."""

    first_line: int
    num_rows: int
    offset: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    offset: int
    num_bytes: int  # with its line end
    text: bytes  # empty where it is longer than MAX_LINE_BYTES

    @property
    def is_row(self) -> bool:
        return self.num_bytes > MAX_LINE_BYTES or not (self.text.isspace() or not self.text)


def spans(file: Any, rows_per_span: int) -> Iterator[Span]:
    """The file cut into spans of so many rows, in one pass over its bytes."""
    first: _Line | None = None
    last: _Line | None = None
    count = 0
    for line in _lines(file, 0, None):
        if not line.is_row:
            continue
        first, last, count = first or line, line, count + 1
        if count == rows_per_span:
            yield _span(first, line, count)
            first, count = None, 0
    if first is not None and last is not None:
        yield _span(first, last, count)


def _span(first: _Line, last: _Line, count: int) -> Span:
    return Span(first.number, count, first.offset, last.offset + last.num_bytes - first.offset)


def rows(file: Any, span: Span) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Line number, object and, where there is no object, what is wrong with the line instead."""
    file.seek(span.offset)
    count = 0
    for line in _lines(file, span.offset, span.num_bytes):
        if count == span.num_rows:
            return
        if line.is_row:
            count += 1
            yield span.first_line + line.number - 1, *_value(line)


def _lines(file: Any, offset: int, num_bytes: int | None) -> Iterator[_Line]:
    """The lines of `num_bytes` (None: all) bytes, numbered from 1. Holds one chunk and one line, however long."""
    number, rest, dropped = 1, b"", 0
    for chunk in _chunks(file, num_bytes):
        if offset == 0 and number == 1 and not rest and not dropped and chunk.startswith(_MARK):
            chunk, offset = chunk[len(_MARK) :], len(_MARK)
        *whole, rest = (rest + chunk).split(b"\n")
        for text in whole:
            size = dropped + len(text) + 1
            yield _Line(number, offset, size, b"" if dropped or size > MAX_LINE_BYTES else text)
            number, offset, dropped = number + 1, offset + size, 0
        if dropped or len(rest) > MAX_LINE_BYTES:
            dropped, rest = dropped + len(rest), b""
    if rest or dropped:
        yield _Line(number, offset, dropped + len(rest), b"" if dropped else rest)


def _chunks(file: Any, num_bytes: int | None) -> Iterator[bytes]:
    left = num_bytes
    while left is None or left > 0:
        chunk = file.read(_CHUNK_BYTES if left is None else min(_CHUNK_BYTES, left))
        if not chunk:
            return
        left = None if left is None else left - len(chunk)
        yield chunk


def _value(line: _Line) -> tuple[dict[str, Any], str]:
    if line.num_bytes > MAX_LINE_BYTES:
        return {}, f"is longer than {MAX_LINE_BYTES} bytes"
    try:
        value = json.loads(line.text.decode())
    except UnicodeDecodeError as error:
        return {}, f"is not UTF-8 text: {error.reason} at byte {error.start}"
    except (ValueError, RecursionError) as error:
        return {}, f"is broken JSON: {error}"
    if not isinstance(value, dict):
        return {}, f"holds a JSON {type(value).__name__}, expected an object"
    return value, ""
