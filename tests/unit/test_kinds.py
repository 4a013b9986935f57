"""Laws of the kinds of tokens: every supervised position knows what it is part of, in whatever row it ends up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from sprint.batching import IGNORED, Row, pack, pad, row_of
from sprint.card import Instruction, Method, ModelCard
from sprint.render import Layout, Prompter, execution_text, final_text, plan_text, training_example, trajectory_text
from sprint.tokenizer import ByteTokenizer
from sprint.types import Kind, Tokens, Trajectory
from tests.unit.strategies import trajectories


def supervised(row: Row, kind: Kind) -> str:
    """The text that positions of this kind predict."""
    labels = [label for label, found in zip(row.labels, row.kinds, strict=True) if found == kind]
    return ByteTokenizer().decode(labels)


@pytest.mark.parametrize("layout", list(Layout))
@given(trajectory=trajectories())
@settings(max_examples=30)
def test_plans_executions_and_the_answer_are_told_apart(layout: Layout, trajectory: Trajectory) -> None:
    prompter = Prompter(ByteTokenizer(), ModelCard(Method.SPRINT, Instruction.NONE))
    row = row_of(training_example("x", "q?", trajectory_text(trajectory), prompter, layout))
    rounds = list(enumerate(trajectory.rounds, 1))
    assert supervised(row, Kind.PLAN) == "".join(plan_text(i, round.plan) for i, round in rounds)
    executions = [execution_text(i, k, e.text) for i, round in rounds for k, e in enumerate(round.executions, 1)]
    assert supervised(row, Kind.EXECUTION) == "".join(executions)
    assert supervised(row, Kind.ANSWER) == final_text(trajectory.final_answer)


@given(trajectory=trajectories())
@settings(max_examples=20)
def test_a_kind_stands_exactly_where_a_label_does_also_in_packed_and_padded_rows(trajectory: Trajectory) -> None:
    prompter = Prompter(ByteTokenizer(), ModelCard(Method.SPRINT, Instruction.NONE))
    row = row_of(training_example("x", "q?", trajectory_text(trajectory), prompter))
    [packed] = pack([row, row], 2 * len(row))
    padded = pad(packed, len(packed) + 5, pad_id=0)
    assert padded.kinds == row.kinds + row.kinds + (0,) * 5
    assert [kind != Kind.NONE for kind in padded.kinds] == [label != IGNORED for label in padded.labels]


def test_of_a_sequential_text_the_last_paragraph_is_the_answer() -> None:
    prompter = Prompter(ByteTokenizer(), ModelCard(Method.RFT, Instruction.NONE))
    row = row_of(training_example("x", "q?", "<think>\nhm\n\nwell\n\nit is 4\n</think>", prompter))
    assert supervised(row, Kind.THOUGHT) == "hm\n\nwell\n\n"
    assert supervised(row, Kind.ANSWER) == "it is 4\n</think>"  # and the end, which has no text


def test_tokens_whose_kinds_are_not_said_are_of_none() -> None:
    assert Tokens((1, 2), (True, False)).kinds == (0, 0)
    assert (Tokens((1,), (True,)) + Tokens((2,), (True,), (int(Kind.PLAN),))).kinds == (0, 1)
