"""Finds the reply in what a language model wrote: behind its thoughts, inside a code fence, as JSON or nearly JSON.

It knows how models wrap what they were asked for, and nothing of what that is. Text is read, never evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_FENCED = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.S | re.M)
_FENCE = re.compile(r"^[ \t]*```.*$", re.M)
# A bracket that begins a line, follows "name =", or holds one of the keys asked for. "[12] text" is a numbered line.
_JSON_START = re.compile(
    r"(?:^[ \t]*|=\s*)(?:\{(?=\s*[\"'\d}#])|\[(?=\s*[\"'\[{\]]))|\{(?=\s*[\"'](?:steps|parents)[\"'])", re.M
)
_ASSIGNED = re.compile(r"\bparent\w*\s*=\s*(?=\{)", re.I)
_BARE_KEY = re.compile(r"([{,]\s*)(\d+)(\s*:)")
_TRAILING_COMMA = re.compile(r",(\s*[\]}])")
_EMPHASIS = re.compile(r"\*\*|__|`")
_REMARK = re.compile(r"\([^()]*\)")
_SHOWN = 60  # characters quoted back


class Unreadable(ValueError):
    """Text that looks like what was asked for and cannot be read."""


class BrokenJSON(Unreadable):
    """Text that begins as JSON and does not end as such: cut off, or malformed."""


def reply_in(text: str) -> str:
    """The reply without the thoughts before it, and the inside of its code fence where there is exactly one.

    A text with a thought that never closes is no reply. Several fences may be parts of one reply: only their marks go.
    """
    said = text.rpartition("</think>")[2]
    if "<think>" in said:
        return ""
    blocks = _FENCED.findall(said)
    return blocks[0] if len(blocks) == 1 else _FENCE.sub("", said)


def quoted(value: object) -> str:
    """What cannot be read, or the beginning of it, for the model to be told."""
    return repr(str(value)[:_SHOWN])


def without_emphasis(text: str) -> str:
    """The text without the marks of Markdown for bold type and code."""
    return _EMPHASIS.sub("", text)


def without_remarks(text: str) -> str:
    """The text with what stands in round brackets blanked."""
    return _REMARK.sub(" ", text)


def json_in(text: str) -> Any | None:
    """The JSON value in the text, with prose around it, or None where nothing begins as JSON.

    Trailing commas, bare or single-quoted keys and comments are let pass. Raises BrokenJSON for anything else.
    """
    text = text[_last_assigned(text) :]
    start = _JSON_START.search(text)
    if start is None:
        return None
    rest = text[start.end() - 1 :]
    for written in _spellings(rest):
        try:
            return json.JSONDecoder(object_pairs_hook=_unique).raw_decode(written)[0]
        except BrokenJSON:
            raise
        except (ValueError, RecursionError):  # malformed, a number of thousands of digits, nested without end
            continue
    raise BrokenJSON("its JSON is broken or cut off")


def _last_assigned(text: str) -> int:
    """Where the last `parent_dictionary = {` opens its bracket; 0 where there is none."""
    return max((match.end() for match in _ASSIGNED.finditer(text)), default=0)


def _spellings(text: str) -> Iterator[str]:
    """The text as it is, and as it reads when Python's liberties are taken out of it."""
    yield text
    plain = text if '"' in text else text.replace("'", '"')
    yield _TRAILING_COMMA.sub(r"\1", _BARE_KEY.sub(r'\1"\2"\3', _without_comments(plain)))


def _without_comments(text: str) -> str:
    """The text without what follows a `#` that stands behind the last quotation mark of its line."""
    return "\n".join(map(_without_comment, text.split("\n")))


def _without_comment(line: str) -> str:
    at = line.find("#", max(line.rfind('"'), line.rfind("'")) + 1)
    return line if at < 0 else line[:at]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BrokenJSON("its JSON gives the same key twice")
    return found
