"""Laws of packing: who runs in which round, and how plans read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import annotate, dag, render, rounds, tags
from sprint.annotate import UnusableAnnotation
from sprint.types import Annotation, DropReason, LineRange, Step, StepLines

DATA = Path(os.environ.get("SPRINT_REFERENCE_DATA", Path(__file__).parents[3] / "shared" / "data"))
PUBLISHED = DATA / "reference" / "published_curation_examples.jsonl"
RATIOS = [1.0, 2.33, 2.5, 0.93, 1.2, 1.6, 0.89, 2.0, 1.25, 1.2, 1.83]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps with random parents, some without an execution, some without a plan."""
    steps = []
    for index in range(1, draw(st.integers(1, 14)) + 1):
        parents = draw(st.lists(st.integers(1, index - 1), unique=True, max_size=4)) if index > 1 else []
        runs = draw(st.booleans())
        plan = f"plan {index}" if draw(st.booleans()) or not runs else ""
        steps.append(Step(index, plan, f"did {index}" * runs, f"do {index}" * runs, tuple(parents)))
    return tuple(steps)


@given(graphs())
def test_no_round_holds_a_step_with_the_execution_of_its_own_ancestor(steps: tuple[Step, ...]) -> None:
    stage = rounds.rounds_of(steps)
    for step, above in zip(steps, dag.ancestors([step.parents for step in steps]), strict=True):
        assert all(stage[other] < stage[step.index] for other in above if steps[other - 1].execution)


@given(graphs())
def test_every_step_appears_once_and_in_order_within_its_round(steps: tuple[Step, ...]) -> None:
    members = rounds.by_round(steps)
    assert sorted(step.index for group in members for step in group) == [step.index for step in steps]
    assert all([step.index for step in group] == sorted(step.index for step in group) for group in members)


@given(graphs())
def test_there_are_as_many_rounds_as_the_longest_path_needs(steps: tuple[Step, ...]) -> None:
    needed = dag.longest_path([step.parents for step in steps], [int(bool(step.execution)) for step in steps])
    assert needed <= len(rounds.by_round(steps)) <= needed + 1  # one more where a plan closes the trace


@given(graphs())
def test_parsing_a_rendered_packing_gives_it_back(steps: tuple[Step, ...]) -> None:
    trajectory = rounds.pack(steps, "It is \\boxed{1}.")
    assert tags.parse(render.trajectory_text(trajectory)) == trajectory


@given(graphs())
def test_prompts_are_numbered_in_order_and_say_what_the_steps_say(steps: tuple[Step, ...]) -> None:
    ids = rounds.prompt_ids(steps)
    for number, (group, round) in enumerate(zip(rounds.by_round(steps), rounds.pack(steps, "").rounds, strict=True), 1):
        runs = [step for step in group if step.execution]
        assert [ids[step.index] for step in runs] == [(number, k) for k in range(1, len(runs) + 1)]
        assert list(tags.prompts_of(round.plan)) == [step.instruction for step in runs]
        assert [execution.text for execution in round.executions] == [step.execution for step in runs]


def test_a_child_of_a_plan_only_step_shares_its_round() -> None:
    steps = (Step(1, "think"), Step(2, "", "did", "do", (1,)), Step(3, "look", parents=(2,)))
    assert rounds.rounds_of(steps) == {1: 1, 2: 1, 3: 2}


def test_dashes_mark_a_jump_and_headers_name_executed_parents_once() -> None:
    steps = (
        Step(1, "", "one", "do one"),
        Step(2, "", "two", "do two", (1,)),
        Step(3, "", "three", "do three"),
        Step(4, "look", "", "", (3, 1)),
        Step(5, "", "five", "do five", (3, 1)),
    )
    first, second = rounds.pack(steps, "end").rounds
    assert first.plan == "<prompt_1.1> do one </prompt_1.1>\n-----\n<prompt_1.2> do three </prompt_1.2>"
    assert second.plan == (
        "Based on execution_1.1:\n<prompt_2.1> do two </prompt_2.1>\n-----\n"
        "Based on execution_1.2, execution_1.1:\nlook\n<prompt_2.2> do five </prompt_2.2>"
    )


def test_a_header_counts_until_another_takes_its_place() -> None:
    steps = (
        Step(1, "", "one", "do one"),
        Step(2, "look", "", "", (1,)),
        Step(3, "", "three", "do three", (2,)),
        Step(4, "", "four", "do four", (1,)),
    )
    plan = rounds.pack(steps, "end").rounds[1].plan
    assert plan == (
        "Based on execution_1.1:\nlook\n<prompt_2.1> do three </prompt_2.1>\n<prompt_2.2> do four </prompt_2.2>"
    )


# --- annotations become steps ----------------------------------------------------------------------------------------

LINES = ["Let me add. ", "1+1=2. ", "2+1=3. ", "3+1=4. ", "4+1=5. ", "Nice.\n"]


def _steps(*steps: StepLines, parents: tuple[tuple[int, ...], ...] | None = None) -> tuple[Step, ...]:
    return annotate.steps_of(Annotation(steps, parents or ((),) * len(steps)), LINES)


def test_an_execution_of_three_lines_is_folded_and_one_of_four_is_not() -> None:
    (folded,) = _steps(StepLines(LineRange(1, 1), LineRange(2, 4), "add"))
    assert (folded.plan, folded.execution, folded.instruction) == ("Let me add.\n1+1=2. 2+1=3. 3+1=4.", "", "")
    (kept,) = _steps(StepLines(LineRange(1, 1), LineRange(2, 5), "add everything"))
    assert (kept.plan, kept.instruction, kept.execution) == (
        "Let me add.",
        "add everything",
        "".join(LINES[1:5]).strip(),
    )


def test_a_plan_that_its_prompt_repeats_is_left_to_the_prompt() -> None:
    (step,) = _steps(StepLines(LineRange(1, 1), LineRange(2, 5)))
    assert (step.plan, step.instruction) == ("", "add")


def test_a_comment_opens_the_next_plan() -> None:
    (executed,) = _steps(StepLines(LineRange(1, 1), LineRange(2, 5), "add", LineRange(6, 6)))
    assert (executed.execution, executed.comment) == ("1+1=2. 2+1=3. 3+1=4. 4+1=5.", "Nice.")
    after = Step(2, "Go on.", "6+1=7.", "add one", (1,))
    first, second = rounds.pack([executed, after], "7").rounds
    assert first.executions[0].text == executed.execution
    assert second.plan.startswith("Observation about execution_1.1:\nNice.\nBased on execution_1.1:\nGo on.")


def test_a_comment_without_a_next_plan_stays_where_it_was_made() -> None:
    (executed,) = _steps(StepLines(LineRange(1, 1), LineRange(2, 5), "add", LineRange(6, 6)))
    (only,) = rounds.pack([executed], "5").rounds
    assert only.executions[0].text.endswith("4+1=5.\nNice.")
    (planned,) = _steps(StepLines(LineRange(1, 1), None, comment=LineRange(6, 6)))
    assert (planned.plan, planned.comment) == ("Let me add.\nNice.", "")


@pytest.mark.parametrize(
    ("steps", "parents", "reason"),
    [
        ([StepLines(LineRange(1, 9), None)], ((),), DropReason.BAD_RANGES),
        ([StepLines(LineRange(3, 2), None)], ((),), DropReason.BAD_RANGES),
        ([StepLines(LineRange(1, 3), LineRange(3, 5))], ((),), DropReason.BAD_RANGES),
        ([StepLines(None, None)], ((),), DropReason.BAD_RANGES),
        ([StepLines(LineRange(1, 1), None)], ((1,),), DropReason.BAD_PARENTS),
        ([StepLines(LineRange(1, 1), None)], ((0,),), DropReason.BAD_PARENTS),
        ([StepLines(LineRange(1, 1), None)], (), DropReason.ANNOTATION_FAILED),
        ([], (), DropReason.ANNOTATION_FAILED),
    ],
)
def test_an_annotation_that_cannot_be_followed_says_why(
    steps: list[StepLines], parents: tuple[tuple[int, ...], ...], reason: DropReason
) -> None:
    with pytest.raises(UnusableAnnotation) as caught:
        annotate.steps_of(Annotation(tuple(steps), parents), LINES)
    assert caught.value.reason is reason


# --- the authors' published examples ---------------------------------------------------------------------------------

published = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is absent (set SPRINT_REFERENCE_DATA)")
_COMPONENT = re.compile(r"### Component (\d+)(.*?)(?=### Component|\Z)", re.S)
_EXECUTION = re.compile(r"\*\*Execution:\*\* Lines (\d+)(?:-(\d+))?")
_PROMPT = re.compile(r"\*\*Prompt:\*\* (.*)")


def _published() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PUBLISHED.read_text(encoding="utf-8").splitlines()]


def _published_steps(row: dict[str, Any]) -> tuple[Step, ...]:
    steps = []
    for number, body in _COMPONENT.findall(row["component_separation"]):
        lines, prompt = _EXECUTION.search(body), _PROMPT.search(body)
        long = lines is not None and int(lines[2] or lines[1]) - int(lines[1]) >= annotate.FOLD_LINES
        runs = f"did {number}" if long else ""
        parents = tuple(row["dag"][number])
        steps.append(Step(int(number), f"plan {number}", runs, prompt[1] if prompt and runs else "", parents))
    return tuple(steps)


@published
def test_published_examples_have_the_published_ratios() -> None:
    steps = [_published_steps(row) for row in _published()]
    assert [round(rounds.ratio(of_row), 2) for of_row in steps] == RATIOS
    assert len(rounds.by_round(steps[3])) == 14


@published
def test_published_trajectories_have_the_same_rounds_prompt_ids_headers_and_dashes() -> None:
    rows = [row for row in _published() if row["trajectory"]]
    assert len(rows) == 5
    for row in rows:
        steps = _published_steps(row)
        found = re.findall(r"<prompt_(\d+)\.(\d+)> (.*?) </prompt_", row["trajectory"])
        by_id = {id: steps[index - 1].instruction for index, id in rounds.prompt_ids(steps).items()}
        assert {(int(i), int(k)): text for i, k, text in found} == by_id
        plans = re.findall(r"<Plan_\d+>(.*?)</Plan_\d+>", row["trajectory"], re.S)
        marks = re.compile(r"^(?:Based on execution_.*:|-----|<prompt_[\d.]+>)", re.M)
        packed = rounds.pack(steps, "").rounds
        assert [marks.findall(plan) for plan in plans] == [marks.findall(round.plan) for round in packed]
