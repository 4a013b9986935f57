"""Laws of curating one row: it leaves exactly once, kept with both texts or dropped with the reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import render, tags
from sprint.curate import Curated, CurationOptions, OnLeak, body_of, curate_row, final_answer
from sprint.rows import digest, read_trace
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.types import Annotation, DropReason, LineRange, StepLines, Trace

OPTIONS = CurationOptions()


def _good(number: int = 0) -> dict[str, Any]:
    task = get_task("chains", num_chains=4)
    trace = task.teach(next(islice(task.problems(Split.TRAIN), number, None)))
    names = ("id", "question", "reasoning", "answer", "response")
    return {name: getattr(trace, name) for name in names}


def _curate(row: dict[str, Any], options: CurationOptions = OPTIONS) -> Curated:
    return curate_row(row, RulesAnnotator(), options)


def test_a_good_row_is_kept_with_both_texts() -> None:
    row = _good()
    found = _curate(row)
    assert found.is_kept
    assert found.rft_text == f"<think>\n{row['reasoning']}\n\n{row['response']}\n</think>"
    trajectory = tags.parse(found.sprint_text)
    assert render.trajectory_text(trajectory) == found.sprint_text
    assert (len(trajectory.rounds), found.num_executions) == (found.num_rounds, 7)
    assert found.ratio == pytest.approx(7 / 3)
    assert trajectory.final_answer == row["response"]


def _changes() -> list[tuple[dict[str, Any], DropReason]]:
    return [
        ({"question": None}, DropReason.MALFORMED_ROW),
        ({"reasoning": None, "response": None}, DropReason.MALFORMED_ROW),
        ({"reasoning": 7}, DropReason.MALFORMED_ROW),
        ({"closed": "yes"}, DropReason.MALFORMED_ROW),
        ({"answer": None}, DropReason.MALFORMED_ROW),
        ({"question": "half \ud800 a pair"}, DropReason.MALFORMED_ROW),
        ({"question": "  "}, DropReason.EMPTY_TRACE),
        ({"reasoning": "\n"}, DropReason.EMPTY_TRACE),
        ({"closed": False}, DropReason.UNCLOSED_THOUGHT),
        ({"reasoning": "Use <prompt_1.1> here."}, DropReason.TAG_IN_TRACE),
        ({"response": "It is large."}, DropReason.NO_ANSWER),
        ({"response": "It is \\boxed{}."}, DropReason.NO_ANSWER),
        ({"response": "It is \\boxed{99}."}, DropReason.WRONG_ANSWER),
        ({"reasoning": "It is just so. It cannot be otherwise."}, DropReason.LOW_RATIO),
    ]


@pytest.mark.parametrize(("change", "reason"), _changes())
def test_each_fault_has_its_reason(change: dict[str, Any], reason: DropReason) -> None:
    found = _curate(_good() | change)
    assert found.reason is reason
    assert not found.sprint_text
    assert not found.rft_text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (replace(OPTIONS, max_rounds=2), DropReason.TOO_MANY_ROUNDS),
        (replace(OPTIONS, max_prompts=3), DropReason.TOO_MANY_PROMPTS),
        (replace(OPTIONS, min_ratio=2.5), DropReason.LOW_RATIO),
        (replace(OPTIONS, max_chars=50), DropReason.TOO_LONG),
        (replace(OPTIONS, fold_lines=9), DropReason.LOW_RATIO),
    ],
)
def test_each_limit_has_its_reason(options: CurationOptions, reason: DropReason) -> None:
    assert _curate(_good(), options).reason is reason


class _Broken:
    """An annotator whose answers cannot be followed."""

    def __init__(self, annotation: Annotation) -> None:
        self.annotation = annotation

    def annotate(self, question: str, trace_lines: Any) -> Annotation:
        return self.annotation


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Annotation((), ()), DropReason.ANNOTATION_FAILED),
        (Annotation((StepLines(LineRange(1, 999), None),), ((),)), DropReason.BAD_RANGES),
        (Annotation((StepLines(LineRange(1, 1), None),), ((2,),)), DropReason.BAD_PARENTS),
    ],
)
def test_a_bad_annotation_drops_the_row(annotation: Annotation, reason: DropReason) -> None:
    assert curate_row(_good(), _Broken(annotation), OPTIONS).reason is reason


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2))
_COLUMNS = st.sampled_from(["id", "question", "problem", "reasoning", "answer", "response", "closed", "other"])


@given(st.dictionaries(_COLUMNS, _VALUES))
def test_no_row_raises_and_what_comes_out_can_be_written(row: dict[str, Any]) -> None:
    found = _curate(row)
    assert found.is_kept is (found.reason is None)
    assert all(value.encode() is not None for value in (found.id, found.question, found.answer, found.detail))


def test_columns_have_aliases_and_can_be_named() -> None:
    row = _good()
    renamed = {"problem": row["question"], "thought": row["reasoning"], "gold": row["answer"], "text": row["response"]}
    assert _curate(renamed).is_kept
    odd = {"q": row["question"], "r": row["reasoning"], "a": row["answer"], "out": row["response"]}
    columns = {"question": "q", "reasoning": "r", "answer": "a", "response": "out"}
    assert _curate(odd, replace(OPTIONS, columns=columns)).is_kept
    assert _curate(odd).reason is DropReason.MALFORMED_ROW


def test_reasoning_may_stand_in_the_think_block_of_the_response() -> None:
    row = _good()
    whole = {**row, "reasoning": None, "response": f"<think>\n{row['reasoning']}\n</think>\n{row['response']}"}
    assert _curate(whole).sprint_text == _curate(row).sprint_text
    cut = {**whole, "response": f"<think>\n{row['reasoning']}"}
    assert _curate(cut).reason is DropReason.UNCLOSED_THOUGHT


def test_a_missing_id_is_made_from_the_text() -> None:
    row = {**_good(), "id": None}
    assert _curate(row).id == _curate(row).id != _curate({**_good(1), "id": None}).id
    assert _curate({**row, "id": 17}).id == "17"


def test_duplicates_share_a_digest_whatever_their_white_space() -> None:
    trace = read_trace(_good())
    assert digest(trace) == digest(replace(trace, reasoning=trace.reasoning.replace("\n", " \n")))
    assert digest(trace) != digest(replace(trace, question=trace.question + "?"))


def test_without_a_gold_answer_the_teachers_own_is_taken_if_so_asked() -> None:
    found = _curate({**_good(), "answer": None}, replace(OPTIONS, require_gold=False))
    assert found.is_kept
    assert found.answer == _good()["answer"]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("So the final answer is \\boxed{5}.", "So the final answer is \\boxed{5}."),
        ("Thus, our final answer: \\boxed{5}", "Thus, our final answer: \\boxed{5}"),
        ("Final answer: \\boxed{5}", "\\boxed{5}"),
        ("**Final Answer**\n\\boxed{5}", "\\boxed{5}"),
        ("### Final answer\nIt is \\boxed{5}.", "It is \\boxed{5}."),
    ],
)
def test_only_a_heading_is_cut_off_the_final_answer(response: str, answer: str) -> None:
    assert final_answer(Trace("t", "q", "thought", "5", response)) == answer


def test_a_leak_is_mended_dropped_or_kept_as_told() -> None:
    lines = ["Let me find A.", "It is 120*3=360.", "Then 360+1=361.", "So A=361.", "That is it.", "Let me find B."]
    lines += ["Since A=361, B is 361*2=722.", "Then 722+4=726.", "So B=726.", "That is all."]
    row = {"question": "What is B?", "reasoning": "\n".join(lines), "answer": "726", "response": "\\boxed{726}"}
    steps = (StepLines(LineRange(1, 1), LineRange(2, 5)), StepLines(LineRange(6, 6), LineRange(7, 10)))
    told = _Broken(Annotation(steps, ((), ())))
    found = {on_leak: curate_row(row, told, replace(OPTIONS, on_leak=on_leak, min_ratio=0)) for on_leak in OnLeak}
    assert found[OnLeak.KEEP].num_rounds == 1
    assert (found[OnLeak.MEND].num_rounds, found[OnLeak.MEND].num_added_edges) == (2, 1)
    assert "Based on execution_1.1:" in found[OnLeak.MEND].sprint_text
    assert found[OnLeak.DROP].reason is DropReason.SIBLING_LEAK
    assert "step 2 uses" in found[OnLeak.DROP].detail


def test_the_closing_box_is_said_once() -> None:
    trace = Trace("t", "q", "Two and two. They make 4.\n\n**Final Answer**\nIt is \\boxed{4}.", "4")
    assert body_of(trace) == "Two and two. They make 4."
    assert final_answer(trace) == "It is \\boxed{4}."
    assert final_answer(replace(trace, response="Sum. **Final Answer:** \\boxed{4}")).endswith("\\boxed{4}")
    assert final_answer(replace(trace, reasoning="Two and two.")) == "The final answer is \\boxed{4}."
