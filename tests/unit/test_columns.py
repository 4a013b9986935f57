"""Laws of a row's columns: which is read, what counts as a value, and what is said of a row that holds no trace."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.rows import ALIASES, MalformedRow, expand, has_column, read_trace, value_at

QUESTION, THOUGHT, RESPONSE = "What is 6·7?", "Six sevens. That is 42.", "It is \\boxed{42}."
R1 = f"<think>\n{THOUGHT}\n</think>\n\n{RESPONSE}"
REFERENCE = "Multiply: $6 \\cdot 7 = \\boxed{42}$."
ROW = {"id": "t1", "question": QUESTION, "reasoning": THOUGHT, "answer": "42", "response": RESPONSE}


def _messages(reply: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": reply, **more}]


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_named_column_is_the_only_one_read() -> None:
    row = ROW | {"other": "Another question?", "messages": _messages(R1)}
    assert read_trace(row, {"question": "other"}).question == "Another question?"
    with pytest.raises(MalformedRow, match="no question column"):
        read_trace(row, {"question": "absent"})
    without = {name: value for name, value in row.items() if name not in ("reasoning", "response")}
    with pytest.raises(MalformedRow, match="no reasoning column"):
        read_trace(without, {"response": "absent"})


def test_a_column_may_be_a_path() -> None:
    row = {
        "meta": {"level": 5, "q": None},
        "turns": [{"content": QUESTION}, {"content": R1}],
        "a.b": "42",
        "a": {"b": 1},
    }
    columns = {"level": "meta.level", "question": "turns.0.content", "response": "turns.1.content", "answer": "a.b"}
    trace = read_trace(row, columns)
    assert (trace.level, trace.question, trace.reasoning, trace.answer) == ("5", QUESTION, THOUGHT, "42")
    assert [has_column(row, path) for path in ("meta.q", "meta.x", "turns.2", "turns.x", "meta.level.x")] == [
        True,
        *[False] * 4,
    ]
    assert value_at(row, "turns.7.content") is None


def test_the_gold_answer_is_a_column_or_what_the_reference_boxes() -> None:
    row = {"problem": QUESTION, "response": R1, "solution": REFERENCE}
    assert read_trace(row).answer == "42"
    assert read_trace(row | {"answer": " 41 "}).answer == "41"
    assert read_trace(row | {"answer": " ", "gold": None, "final_answer": "40"}).answer == "40"
    assert read_trace(row | {"solution": "It is 42."}).answer == ""


def test_numbers_that_a_table_with_gaps_made_real_are_whole_again() -> None:
    trace = read_trace({"problem": QUESTION, "response": R1, "id": 17.0, "answer": math.nan, "gold": 0.5, "level": 3.0})
    assert (trace.id, trace.answer, trace.level) == ("17", "0.5", "3")


def test_level_and_subject_cost_no_row() -> None:
    row = {"problem": QUESTION, "response": R1}
    labelled = read_trace(row | {"difficulty": "Level 5", "type": "Algebra"})
    assert (labelled.level, labelled.subject) == ("Level 5", "Algebra")
    odd = read_trace(row | {"level": [5], "subject": {"a": 1}})
    assert (odd.level, odd.subject) == ("", "")


def test_what_a_column_says_of_correctness_is_not_believed() -> None:
    row = ROW
    assert read_trace(row | {"correct": False, "correctness_math_verify": False}) == read_trace(row)


def test_rows_without_an_id_get_one_from_their_text() -> None:
    row = {"problem": QUESTION, "response": R1, "problem_id": "shared"}
    assert read_trace(row).id == read_trace(row | {"id": ""}).id
    assert read_trace(row).id.startswith("trace-")
    assert read_trace(row | {"problem": "Another?"}).id != read_trace(row).id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": None}, "no question column; found: id, problem, response"),
        ({"response": None}, "no reasoning column; found: id, problem, response"),
        ({"response": ["a"]}, "'response' is a list, expected text"),
        ({"id": {"a": 1}}, "'id' is a dict, expected text"),
        ({"id": 10**5000}, "'id' is a int, expected text"),
        ({"answer": True}, "'answer' is a bool, expected text"),
        ({"closed": "yes"}, "'closed' is a str, expected true or false"),
        ({"problem": "half \ud800"}, "'problem' holds half a surrogate pair"),
        ({"problem": None, "messages": "hello"}, "'messages': is a str, expected a list of turns"),
        ({"problem": None, "messages": [1]}, "'messages': turn 1 is a int, expected an object"),
        ({"problem": None, "messages": [{"content": "x"}]}, "'messages': turn 1 has no role"),
        ({"problem": None, "messages": [{"role": "user", "content": 3}]}, "the content of turn 1 is a int"),
        ({"response": None, "messages": _messages("x", reasoning=3)}, "the thought of turn 2 is a int"),
        ({"problem": None, "messages": _messages("x\udfff")}, "'messages' holds half a surrogate pair"),
    ],
)
def test_a_malformed_row_says_what_was_found(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedRow, match=message) as caught:
        read_trace({"id": "t1", "problem": QUESTION, "response": R1} | change)
    assert "\n" not in str(caught.value)


_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=8))
_TURN = st.dictionaries(st.sampled_from(["role", "from", "content", "value", "thinking"]), _LEAVES, max_size=4)
_VALUES = st.one_of(
    _LEAVES,
    st.sampled_from(
        [R1, "<|begin_of_thought|>a", "<think>", "</think>", "<|end_of_thought|>", "<|begin_of_solution|>", "\ud800"]
    ),
    st.lists(st.one_of(_LEAVES, _TURN, st.just({"role": "assistant", "content": R1})), max_size=3),
    st.recursive(_LEAVES, lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=3),
)
_COLUMNS = st.sampled_from([column for columns in ALIASES.values() for column in columns])


@given(st.dictionaries(_COLUMNS, _VALUES), st.dictionaries(st.sampled_from(list(ALIASES)), _COLUMNS, max_size=2))
def test_nothing_but_a_malformed_row_is_raised_and_a_trace_can_be_written(
    row: dict[str, Any], columns: dict[str, str]
) -> None:
    try:
        traces = [read_trace(part, columns) for part in expand(row)]
    except MalformedRow:
        return
    for trace in traces:
        fields = (trace.id, trace.question, trace.reasoning, trace.answer, trace.response, trace.level, trace.subject)
        assert json.dumps(fields, ensure_ascii=False).encode()
        assert trace.id
