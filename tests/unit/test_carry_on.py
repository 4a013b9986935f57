"""Laws of plans with one prompt that are carried on in the planner's own sequence."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import ConfigError
from sprint.options import EngineOptions, View
from sprint.render import Layout, Prompter, main_thread, training_example, trajectory_text
from sprint.scripted import ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer, Tokenizer
from sprint.types import Execution, Rollout, Round, StopReason, Trajectory
from tests.unit.follow import follow
from tests.unit.strategies import JoiningTokenizer, trajectories

BYTES = ByteTokenizer()
CARD = ModelCard(Method.SPRINT, Instruction.NONE)
CARRIED = EngineOptions(temperature=0, carry_on=True)
ONE = Trajectory((Round(f"One.\n{prompt(1, 1, 'a')}\nThat is all.", (Execution("A is 1."),)),), "So \\boxed{1}.")
TWO = Trajectory(
    (Round(f"Two.\n{prompt(1, 1, 'a')}\n{prompt(1, 2, 'b')}\nDone.", (Execution("A is 1."), Execution("B is 2."))),),
    "So \\boxed{3}.",
)


def rollout_of(
    trajectory: Trajectory, options: EngineOptions, tokenizer: Tokenizer = BYTES, chunk_tokens: int = 1
) -> tuple[Rollout, ScriptedLLM, ScriptedLLM]:
    planner, executor = (ScriptedLLM(tokenizer, follow(trajectory), chunk_tokens=chunk_tokens) for _ in range(2))
    engine = Engine(planner, executor, Prompter(tokenizer, CARD), 1 << 20)
    return asyncio.run(engine.run("q?", options)), planner, executor


@pytest.mark.parametrize("tokenizer", [BYTES, JoiningTokenizer()])
@given(trajectory=trajectories(), chunk_tokens=st.integers(1, 40))
@settings(max_examples=25)
def test_the_rollout_is_the_same_as_without(tokenizer: Tokenizer, trajectory: Trajectory, chunk_tokens: int) -> None:
    rollout, _, executor = rollout_of(trajectory, CARRIED, tokenizer, chunk_tokens)
    apart, _, _ = rollout_of(trajectory, replace(CARRIED, carry_on=False), tokenizer, chunk_tokens)
    assert rollout.stop_reason is StopReason.ANSWERED
    assert (rollout.text, rollout.token_ids) == (trajectory_text(trajectory), apart.token_ids)
    assert len(executor.calls) == sum(len(r.executions) for r in trajectory.rounds if len(r.executions) > 1)
    assert apart.usage.pipelined_tokens <= rollout.usage.pipelined_tokens <= rollout.usage.barrier_tokens
    assert apart.usage.paper_sequential_tokens == rollout.usage.paper_sequential_tokens


def test_the_planner_goes_on_after_its_own_ids_and_the_join_reads_nothing_again() -> None:
    rollout, planner, executor = rollout_of(ONE, CARRIED)
    contexts = [call.prompt_ids for call in planner.calls]
    assert (len(contexts), executor.calls) == (3, [])
    assert all(rollout.token_ids[: len(ids)] == ids for ids in contexts)
    assert BYTES.decode(contexts[1]).endswith("That is all.\n</Plan_1>\n\n<Execution_1>\n<execution_1.1>\n")
    assert rollout.usage.join_prefill_tokens == 0


def test_layout_flat_taught_exactly_this_context() -> None:
    _, planner, _ = rollout_of(ONE, CARRIED)
    taught = training_example("x", "q?", trajectory_text(ONE), Prompter(BYTES, CARD), Layout.FLAT).main.ids
    assert taught[: len(planner.calls[1].prompt_ids)] == planner.calls[1].prompt_ids


def test_with_a_second_prompt_the_first_starts_when_that_one_opens() -> None:
    rollout, planner, executor = rollout_of(TWO, CARRIED)
    assert len(planner.calls) == 2
    assert len(executor.calls) == 2
    shown = BYTES.decode(executor.calls[0].prompt_ids)
    assert shown.endswith("<prompt_1.1> a </prompt_1.1>\n<execution_1.1>\n")
    plan = next(span.text for span in main_thread(TWO))
    opened = plan.index("<prompt_1.2>") + len("<prompt_1.2>")
    execution = len("A is 1.\n</execution_1.1>")
    longest = max(len(plan), opened + execution, plan.index("</prompt_1.2>") + len("</prompt_1.2>") + execution)
    assert rollout.usage.pipelined_tokens == longest + len("<Final_answer>\nSo \\boxed{3}.\n</Final_answer>")


def test_the_authors_view_cannot_be_carried_on() -> None:
    with pytest.raises(ConfigError, match="carry_on goes with view 'prefix', and view is 'whole_plan'"):
        EngineOptions(carry_on=True, view=View.WHOLE_PLAN)
