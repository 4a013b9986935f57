"""Reads a row of teacher data as a trace: which column holds what, and what is wrong with a row that is none.

Rows are plain mappings, from JSON or Parquet alike, in the shapes that published traces have. A column of its own goes
before a chat: `problem` before the user's turn, which often holds instructions too, and `reasoning` or a generation
before the assistant's. What marks a thought inside a text is `sprint.thoughts`' business, chats are `sprint.chats`'.
Knows nothing of whether the trace is any good; columns that say so (`correct`) are not read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sprint import answers, chats, thoughts
from sprint.errors import InputError
from sprint.types import Trace

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "uid", "uuid", "unique_id"),  # not problem_id, which the samples of one problem share
    "question": ("question", "problem"),
    "reasoning": ("reasoning", "reasoning_content", "thought", "thinking", "deepseek_reasoning"),
    "answer": ("answer", "gold", "expected_answer", "ground_truth_answer", "final_answer"),
    "solution": ("solution", "ground_truth_solution"),  # the reference's, whose box is the gold answer
    "response": ("response", "generation", "generations", "generated_solution", "deepseek_solution"),
    "messages": ("messages", "conversations", "conversation"),
    "text": ("text",),  # a whole reply; last, since it may be a rendered chat
    "closed": ("closed", "is_reasoning_complete"),
    "level": ("level", "difficulty"),
    "subject": ("subject", "type", "problem_type"),
}
GENERATIONS = "generations"
MAX_PARTS = 256
_PER_GENERATION = ("is_reasoning_complete", "correctness_math_verify", "correctness_llama", "finish_reasons")
_NUMBER = "generation_number"
_EXACT = 2**53  # whole numbers up to this one survive being stored as a float


class MalformedRow(InputError):
    """A row that holds no trace: a column is missing or of the wrong type. The message may quote it, writable."""

    def __init__(self, message: str) -> None:
        super().__init__(writable(message))


# --- several traces in one row ---------------------------------------------------------------------------------------


def expand(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The row for each of its generations (open-r1's lists), or the row itself when it has no such list.

    Each has the text, the judgements and the number of one generation where the row had lists. Raises MalformedRow.
    """
    texts = row.get(GENERATIONS)
    if not isinstance(texts, list):
        return [dict(row)]
    if not 0 < len(texts) <= MAX_PARTS:
        raise MalformedRow(f"'{GENERATIONS}' holds {len(texts)} texts, expected 1 to {MAX_PARTS}")
    lists = {name: row[name] for name in _PER_GENERATION if isinstance(row.get(name), list)}
    for name, values in lists.items():
        if len(values) != len(texts):
            raise MalformedRow(f"'{name}' holds {len(values)} values for {len(texts)} {GENERATIONS}")
    return [
        {
            **row,
            **{name: values[k] for name, values in lists.items()},
            GENERATIONS: "" if text is None else text,
            _NUMBER: k + 1,
        }
        for k, text in enumerate(texts)
    ]


# --- one trace -------------------------------------------------------------------------------------------------------


def read_trace(row: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Trace:
    """The trace in a row. `columns` names the column of a field, or the dotted path to it (`meta.level`).

    Without a reasoning column, the reasoning is the thought that the response, the chat or the text holds. Raises
    MalformedRow and nothing else, whatever the row holds.
    """
    names = columns or {}
    question, reply = _question_and_reply(row, names)
    closed = _value(row, "closed", names)
    if closed is not None and not isinstance(closed, bool):
        raise MalformedRow(f"'closed' is a {type(closed).__name__}, expected true or false")
    trace = Trace(
        _id(row, names),
        question.strip(),
        reply.thought.strip(),
        _gold(row, names),
        reply.answer.strip(),
        reply.closed and closed is not False,
        _label(row, "level", names),
        _label(row, "subject", names),
    )
    return trace if trace.id else replace(trace, id=f"trace-{digest(trace)[:16]}")


def _question_and_reply(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, thoughts.Reply]:
    question, reasoning = _text(row, "question", names), _text(row, "reasoning", names)
    response = _text(row, "response", names)
    chat = _chat(row, names) if question is None or response is None else chats.Exchange()
    if question is None and "question" not in names:
        question = chat.question
    if response is None and "response" not in names:
        response = chat.reply if chat.reply is not None else _text(row, "text", names)
        reasoning = reasoning if reasoning is not None or "reasoning" in names else chat.thought
    if question is None or (reasoning is None and response is None):
        wanted = "question" if question is None else "reasoning"
        raise MalformedRow(f"no {wanted} column; found: {', '.join(sorted(map(str, row))) or 'none'}")
    if reasoning is None:
        return question, thoughts.split(response or "")
    return question, thoughts.Reply(thoughts.thought_of(reasoning), thoughts.answer_of(response or ""))


def _chat(row: Mapping[str, Any], names: Mapping[str, str]) -> chats.Exchange:
    for column, value in _values(row, "messages", names):
        try:
            chat = chats.read(value)
        except InputError as error:
            raise MalformedRow(f"'{column}': {error}") from None
        for text in (chat.question, chat.reply, chat.thought):
            _check_writable(column, text or "")
        return chat
    return chats.Exchange()


def _id(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    name, number = _text(row, "id", names), row.get(_NUMBER)
    return f"{name}#{number}" if name and type(number) is int else name or ""


def _gold(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The gold answer: a column of its own, or what the reference solution boxes."""
    given = (_as_text(column, value, True).strip() for column, value in _values(row, "answer", names))
    return next(filter(None, given), "") or answers.last_boxed(_text(row, "solution", names) or "") or ""


def _label(row: Mapping[str, Any], name: str, names: Mapping[str, str]) -> str:
    """A level or subject as text. One that is neither text nor number is left out: it costs no row."""
    for column, value in _values(row, name, names):
        if isinstance(value, str):
            return writable(value).strip()
        if _is_number(value):
            return _as_text(column, value, True)
    return ""


# --- values ----------------------------------------------------------------------------------------------------------


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or at a dotted path (`meta.level`, `messages.1.content`); None where there is none."""
    return _at(row, column, None)


def has_column(row: Mapping[str, Any], column: str) -> bool:
    """Whether the row has such a column or path, whatever stands there."""
    absent = object()
    return _at(row, column, absent) is not absent


def _at(row: Mapping[str, Any], column: str, absent: Any) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return absent
    return value


def _values(row: Mapping[str, Any], name: str, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The columns that may hold a field, the first choice first, and what they hold; empty ones left out."""
    for column in (names[name],) if name in names else ALIASES[name]:
        value = value_at(row, column)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            yield column, value


def _value(row: Mapping[str, Any], name: str, names: Mapping[str, str]) -> Any:
    return next((value for _, value in _values(row, name, names)), None)


def _text(row: Mapping[str, Any], name: str, names: Mapping[str, str]) -> str | None:
    for column, value in _values(row, name, names):
        return _as_text(column, value, name == "id")
    return None


def _as_text(column: str, value: Any, may_be_number: bool) -> str:
    if may_be_number and _is_number(value):
        whole = isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT
        return str(int(value) if whole else value)  # a table with gaps stores 17 as 17.0
    if not isinstance(value, str):
        raise MalformedRow(f"'{column}' is a {type(value).__name__}, expected text")
    _check_writable(column, value)
    return value


def _is_number(value: Any) -> bool:
    is_small_int = type(value) is int and abs(value) < 10**4000  # Python refuses to print longer ones
    return is_small_int or isinstance(value, (float, Decimal))


def _check_writable(column: str, text: str) -> None:
    if writable(text) != text:
        raise MalformedRow(f"'{column}' holds half a surrogate pair, which is not text")


def id_or_empty(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """The id of a row that may be malformed otherwise."""
    try:
        return _id(row, columns)
    except MalformedRow:
        return ""


def digest(trace: Trace) -> str:
    """What duplicates have in common: the question and the reasoning, white space aside."""
    parts = (" ".join(text.split()) for text in (trace.question, trace.reasoning))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def digest_number(digest: str) -> int:
    """A digest as a 64-bit number, for arrays of many: the first pass and the kept replies must agree on it."""
    return int(digest[:16], 16)


def writable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
