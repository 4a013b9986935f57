"""Laws of reading a row: every published shape gives the same trace, and a row that is none says what was found."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sprint.rows import MAX_PARTS, MalformedRow, expand, id_or_empty, read_trace
from sprint.types import Trace

QUESTION, THOUGHT, RESPONSE = "What is 6·7?", "Six sevens. That is 42.", "It is \\boxed{42}."
R1 = f"<think>\n{THOUGHT}\n</think>\n\n{RESPONSE}"
SOLUTION_TAGS = (
    f"<|begin_of_thought|>\n\n{THOUGHT}\n\n<|end_of_thought|>\n\n"
    f"<|begin_of_solution|>\n\n{RESPONSE}\n\n<|end_of_solution|>"
)
REFERENCE = "Multiply: $6 \\cdot 7 = \\boxed{42}$."
TRACE = Trace("t1", QUESTION, THOUGHT, "42", RESPONSE)


def _messages(reply: str, **more: str) -> list[dict[str, str]]:
    system, user = {"role": "system", "content": "Think."}, {"role": "user", "content": QUESTION}
    return [system, user, {"role": "assistant", "content": reply, **more}]


def _conversations(reply: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": reply}]


SHAPES: dict[str, dict[str, Any]] = {
    "plain columns": {"id": "t1", "question": QUESTION, "reasoning": THOUGHT, "answer": "42", "response": RESPONSE},
    "response of R1": {"uid": "t1", "problem": QUESTION, "response": R1, "gold": "42"},
    "response without the opening mark": {
        "id": "t1",
        "problem": QUESTION,
        "response": R1.removeprefix("<think>"),
        "expected_answer": 42,
    },
    "rendered prompt before the thought": {
        "id": "t1",
        "problem": QUESTION,
        "text": f"<|User|>{QUESTION}<|Assistant|>{R1}",
        "answer": "42",
    },
    "messages": {"unique_id": "t1", "messages": _messages(R1), "ground_truth_answer": "42"},
    "messages with a field for the thought": {
        "id": "t1",
        "messages": _messages(RESPONSE, reasoning_content=THOUGHT),
        "final_answer": 42.0,
    },
    "messages with content in parts": {
        "id": "t1",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": "x"}]},
            {"role": "assistant", "content": [{"type": "text", "text": R1}]},
        ],
        "answer": Decimal("42"),
    },
    "conversations of OpenThoughts": {
        "id": "t1",
        "system": "Think in two sections.",
        "conversations": _conversations(f"Well. {SOLUTION_TAGS}"),
        "answer": "42",
    },
    "a problem beside the chat": {
        "id": "t1",
        "problem": QUESTION,
        "solution": REFERENCE,
        "messages": [{"role": "user", "content": f"Answer in a box. {QUESTION}"}, *_messages(SOLUTION_TAGS)[2:]],
    },
    "a thought beside the chat": {
        "uuid": "t1",
        "thought": f"<think>{THOUGHT}</think>",
        "messages": _messages(f"<think>Something else.</think>{RESPONSE}"),
        "answer": "42",
    },
    "a response that repeats the thought": {
        "id": "t1",
        "question": QUESTION,
        "reasoning_content": THOUGHT,
        "response": R1,
        "answer": "42",
    },
    "prompt as messages, reply as a column": {
        "id": "t1",
        "messages": _messages(R1)[:2],
        "generation": R1,
        "answer": "42",
    },
    "columns of OpenThoughts' metadata": {
        "id": "t1",
        "problem": QUESTION,
        "deepseek_reasoning": THOUGHT,
        "deepseek_solution": RESPONSE,
        "ground_truth_solution": REFERENCE,
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_published_shape_gives_the_same_trace(shape: str) -> None:
    assert read_trace(SHAPES[shape]) == TRACE


def test_a_row_of_generations_is_one_trace_for_each() -> None:
    row = {
        "uuid": "u",
        "problem": QUESTION,
        "solution": REFERENCE,
        "answer": "42",
        "problem_type": "Algebra",
        "generations": [R1, "<think>Six", None],
        "is_reasoning_complete": [True, False, None],
        "correctness_math_verify": [True, False, False],
        "correctness_count": 1,
        "messages": _messages(R1),
    }
    parts = expand(row)
    assert [part["correctness_math_verify"] for part in parts] == [True, False, False]
    assert all(part["messages"] == row["messages"] for part in parts)
    traces = [read_trace(part) for part in parts]
    assert traces[0] == Trace("u#1", QUESTION, THOUGHT, "42", RESPONSE, subject="Algebra")
    assert [(trace.id, trace.reasoning, trace.closed) for trace in traces[1:]] == [
        ("u#2", "Six", False),
        ("u#3", "", False),
    ]
    assert [id_or_empty(part, {}) for part in parts] == ["u#1", "u#2", "u#3"]
    assert read_trace(parts[1], {"id": "problem_type"}).id == "Algebra#2"


def test_a_generation_said_to_be_cut_off_is_not_closed() -> None:
    row = {"problem": QUESTION, "generations": [R1, R1], "is_reasoning_complete": [True, False]}
    assert [read_trace(part).closed for part in expand(row)] == [True, False]


def test_a_row_without_generations_is_one_row() -> None:
    row = {"problem": QUESTION, "generations": None, "response": R1}
    assert expand(row) == [row]
    assert len(expand({"generations": [""] * MAX_PARTS})) == MAX_PARTS


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"generations": []}, "'generations' holds 0 texts, expected 1 to 256"),
        ({"generations": ["a"] * (MAX_PARTS + 1)}, "holds 257 texts"),
        (
            {"generations": ["a", "b"], "is_reasoning_complete": [True]},
            "'is_reasoning_complete' holds 1 values for 2 generations",
        ),
    ],
)
def test_generations_that_do_not_fit_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedRow, match=message):
        expand(row)


# --- chats -----------------------------------------------------------------------------------------------------------


def _turns(*texts: str) -> list[dict[str, str]]:
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    return [{"role": roles[text[0]], "content": text[2:]} for text in texts]


@pytest.mark.parametrize(
    ("turns", "question", "thought"),
    [
        (("u Hi", "a Hello.", "u Two?", "a <think>Two.</think>2", "u Three?", "a <think>3</think>3"), "Two?", "Two."),
        (("u One?", "u Really one?", "a <think>Yes.</think>1"), "Really one?", "Yes."),
        (("s <think>", "u One?", "t <think>no</think>", "a <think>Yes.</think>1"), "One?", "Yes."),
        (("u One?", "a ", "a First.", "u Two?", "a Second."), "One?", "First."),
    ],
)
def test_the_first_turn_that_thinks_answers_the_last_question_before_it(
    turns: tuple[str, ...], question: str, thought: str
) -> None:
    trace = read_trace({"messages": _turns(*turns)})
    assert (trace.question, trace.reasoning) == (question, thought)


def test_a_thought_without_an_end_is_not_closed() -> None:
    cut = [f"<think>\n{THOUGHT}", f"<|begin_of_thought|>\n{THOUGHT}", THOUGHT]
    traces = [read_trace({"problem": QUESTION, "response": text}) for text in cut]
    assert [(trace.reasoning, trace.response, trace.closed) for trace in traces] == [(THOUGHT, "", False)] * 3


def test_a_thought_that_ends_where_the_solution_begins_is_closed() -> None:
    text = f"<|begin_of_thought|>{THOUGHT}<|begin_of_solution|>{RESPONSE}"
    trace = read_trace({"problem": QUESTION, "response": text})
    assert (trace.reasoning, trace.response, trace.closed) == (THOUGHT, RESPONSE, True)


def test_the_reference_traces_are_read_whole(reference_data: Path) -> None:
    for file in sorted((reference_data / "traces").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            trace = read_trace(row)
            assert (trace.question, trace.reasoning) == (row["problem"].strip(), row["reasoning"].strip())
            assert trace.answer
