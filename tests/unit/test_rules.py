"""Laws of the rule-based annotator: what opens a step, what a step depends on, and what comes out on whole traces."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import annotate, dag, rounds
from sprint.discourse import Opening, bare_instruction, opening, plan_instruction
from sprint.lines import split
from sprint.quantities import Reader
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.types import Annotation, Step


def _annotation(text: str, question: str = "") -> Annotation:
    return RulesAnnotator().annotate(question, split(text))


def _steps(text: str, question: str = "") -> tuple[Step, ...]:
    return annotate.steps_of(_annotation(text, question), split(text))


# --- any text --------------------------------------------------------------------------------------------------------

_PHRASES = st.sampled_from(
    [
        *(
            "Let me work out A. ",
            "Wait, ",
            "So x = 12. ",
            "Alternatively, ",
            "13+4=17.\n",
            "\n\n",
            "hm",
            "**Step 2**\n",
        ),
        *("Now compare B with C.\n", "(2x+3)*4 = 20. ", "Let me check that.\n", "A=9.\n", "I think it is 17. "),
    ]
)


@given(st.lists(_PHRASES, max_size=40).map("".join))
def test_every_line_stands_in_exactly_one_step_and_parents_come_before(text: str) -> None:
    if not text.strip():
        return
    found, trace_lines = _annotation(text), split(text)
    covered = [
        number
        for step in found.steps
        for part in (step.plan, step.execution)
        if part
        for number in range(part.first, part.last + 1)
    ]
    assert covered == list(range(1, len(trace_lines) + 1))
    assert dag.bad_parent(found.parents) is None
    assert annotate.steps_of(found, trace_lines)


def test_a_trace_without_text_is_unusable() -> None:
    with pytest.raises(annotate.UnusableAnnotation):
        RulesAnnotator().annotate("q", [" \n"])


@pytest.mark.parametrize("piece", ["Let me ", "A=9. ", "(x+1)*", "12 = ", "1,000,", "Wait, ", "x", "gives "])
def test_long_hostile_texts_are_annotated_too(piece: str) -> None:
    assert _annotation(piece * 4_000).steps


# --- discourse -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Let me work out A.", Opening.TASK),
        ("Okay, so first, let's set up the equations.", Opening.TASK),
        ("Now compare A with B.", Opening.TASK),
        ("Next, find the slope.", Opening.TASK),
        ("To find the radius, I can divide both sides by π.", Opening.TASK),
        ("Now the sum is known.", Opening.NONE),
        ("Let me see.", Opening.NONE),
        ("The sum is 12.", Opening.NONE),
        ("Wait, that is odd.", Opening.RETURN),
        ("So the sum is 12.", Opening.RESULT),
        ("Alternatively, use symmetry.", Opening.CHECK),
        ("Wait, let me double-check that.", Opening.CHECK),
        ("Just to be thorough, let me plug it in.", Opening.CHECK),
        ("**Step 2: Simplify**", Opening.HEADING),
        ("Case 2: x < 0.", Opening.HEADING),
    ],
)
def test_openings(line: str, found: Opening) -> None:
    assert opening(line) is found


@pytest.mark.parametrize(
    ("plan", "instruction"),
    [
        ("Let me work out A.\n", "work out A"),
        ("Now compare A with B.", "compare A with B"),
        ("Okay, so first, let's find the slope.", "find the slope"),
        ("We need the slope. Let me compute that:", "We need the slope"),
        ("Hmm.", "Hmm"),
        ("", ""),
    ],
)
def test_the_instruction_is_the_plan_without_its_markers(plan: str, instruction: str) -> None:
    assert plan_instruction(plan) == instruction


def test_an_instruction_stands_on_one_line() -> None:
    assert bare_instruction("Let me find\n\n\\[ x \\]\n") == "find \\[ x \\]"


# --- quantities ------------------------------------------------------------------------------------------------------


def test_a_label_resolves_to_what_earlier_steps_found_unless_it_is_worked_out_again() -> None:
    reader = Reader("Which is larger?")
    assert reader.read(["4+5=9.", "So A=9."]).produced[("label", "A")] == "9"
    taken = reader.read(["A=9.", "So A=9 wins."])
    assert ("label", "A") in taken.used
    assert ("label", "A") in taken.produced
    assert not reader.read(["4+5=9.", "So A=9."]).used


def test_a_bare_number_counts_only_where_neither_question_nor_step_gave_it() -> None:
    reader = Reader("There are 40 cats.")
    assert reader.read(["40*2=80."]).produced == {("number", "80"): "80"}
    assert ("number", "80") in reader.read(["80-13=67."]).used
    assert ("number", "80") not in reader.read(["40+40=80.", "80-13=67."]).used
    assert ("number", "40") not in reader.read(["40-10=30."]).used


def test_the_same_number_is_the_same_however_it_is_written() -> None:
    reader = Reader("")
    reader.read(["The price is \\$1,250.50."])
    assert ("number", "1250.5") in reader.read(["1250.5 / 2 = 625.25"]).used


# --- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_chains", [2, 3, 4, 5, 6, 7, 8])
def test_the_chains_tournament_comes_out_exactly(num_chains: int) -> None:
    task = get_task("chains", num_chains=num_chains)
    for problem in islice(task.problems(Split.TRAIN), 20):
        packed = rounds.pack(_steps(task.teach(problem).reasoning, problem.question), "")
        assert [round.plan for round in packed.rounds] == _tournament(problem.data["chains"])
        assert all(len(round.executions) == round.plan.count("<prompt_") for round in packed.rounds)


def _tournament(chains: list[str]) -> list[str]:
    """The plans that chains and their winners call for, from the chains alone."""
    labels = "ABCDEFGH"[: len(chains)]
    values = {
        label: sum(map(int, chain.replace("-", "+-").split("+"))) for label, chain in zip(labels, chains, strict=True)
    }
    plans = ["\n".join(f"<prompt_1.{k}> work out {label} </prompt_1.{k}>" for k, label in enumerate(labels, 1))]
    standing = [(label, f"execution_1.{k}") for k, label in enumerate(labels, 1)]
    while len(standing) > 1:
        i, lines, through = len(plans) + 1, [], []
        for k, ((a, from_a), (b, from_b)) in enumerate(zip(standing[::2], standing[1::2], strict=False), 1):
            lines.append(f"Based on {from_a}, {from_b}:\n<prompt_{i}.{k}> compare {a} with {b} </prompt_{i}.{k}>")
            through.append((a if values[a] >= values[b] else b, f"execution_{i}.{k}"))
        standing = through + standing[len(standing) // 2 * 2 :]
        plans.append("\n".join(lines))
    return plans


def test_countdown_branches_are_independent_and_the_check_hangs_on_what_it_checks() -> None:
    task = get_task("countdown")
    for problem in islice(task.problems(Split.TRAIN), 20):
        reasoning = task.teach(problem).reasoning
        branches, check = rounds.by_round(_steps(reasoning, problem.question))
        assert len(branches) == reasoning.count("Let me try")
        assert len(check) == 1
        assert check[0].instruction.startswith("check")


# --- prose -----------------------------------------------------------------------------------------------------------

PROSE = """Okay, so a train goes 60 km in 2 hours. Let me think.

First, let me find the speed of the train. The distance is 60 km. The time is 2 hours. I divide. So it is 60/2 = 30.

Alternatively, I can count half hours. There are 4 of them. Each covers 15 km. Two of them are an hour. So 30.

Now, let me find the time for 75 km. The speed is 30 km per hour. I divide 75 by 30. That is 2.5. So 2.5 hours.
"""


def test_a_second_way_stands_beside_the_first_and_what_uses_its_result_comes_after() -> None:
    steps = _steps(PROSE, "A train goes 60 km in 2 hours. How long does it take for 75 km?")
    runs = {step.instruction: rounds.rounds_of(steps)[step.index] for step in steps if step.execution}
    assert runs == {"find the speed of the train": 1, "count half hours": 1, "find the time for 75 km": 2}


def test_real_traces_are_annotated_and_a_sensible_share_is_parallel(reference_data: Path) -> None:
    rows = [
        json.loads(line)
        for path in sorted((reference_data / "traces").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    steps = [_steps(row["reasoning"], row["problem"]) for row in rows]
    assert 0.2 < sum(rounds.ratio(of_row) >= 1.5 for of_row in steps) / len(rows) < 0.7
