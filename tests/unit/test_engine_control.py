"""Laws of what keeps a rollout in hand: views, quorum, hedging, gates, priorities, seeds, repetition, recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint import recording
from sprint.calls import repeats_itself
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import InputError, LLMError
from sprint.events import Discarded, Event, Finished
from sprint.gate import FirstPlan
from sprint.llm import LLM, Chunk, Sampling
from sprint.options import Dispatch, EngineOptions, Gate, Mode, View
from sprint.render import Prompter
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, ExecutionOutcome, Rollout, Round, StopReason, Trajectory
from sprint.views import rearranged
from tests.unit.follow import follow
from tests.unit.strategies import trajectories

BYTES = ByteTokenizer()
GREEDY = EngineOptions(temperature=0)
PROMPTS = "\n".join(prompt(1, k, name) for k, name in enumerate(("a", "b", "c"), 1))
THREE = Trajectory((Round(f"Plan.\n{PROMPTS}", (Execution("A"), Execution("BB"), Execution("CCC"))),), "\\boxed{3}")


def lenient(context: str) -> str:
    """Says THREE, whatever it was shown of it."""
    said = {f"<execution_1.{k}>\n": execution.text for k, execution in enumerate(THREE.rounds[0].executions, 1)}
    for opening, text in said.items():
        if context.endswith(opening):
            return f"{text}\n</{opening[1:-1]}"
    if "<Execution_1>" in context or context.endswith("<Final_answer>\n"):
        return "<Final_answer>\n\\boxed{3}\n</Final_answer>".removeprefix(context[-15:])
    return f"<Plan_1>\n{THREE.rounds[0].plan}\n</Plan_1>"


class Slow:
    """Says what `script` says, each execution after its own number of turns of the event loop."""

    def __init__(self, script: Script, delays: dict[str, int]) -> None:
        self.inner = ScriptedLLM(BYTES, script, chunk_tokens=64)
        self.delays = delays
        self.sampled: list[Sampling] = []
        self.sessions: list[str] = []

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        self.sampled.append(sampling)
        self.sessions.append(session)
        tail = BYTES.decode(prompt_ids).rpartition("<")[2].strip(">\n")
        for _ in range(self.delays.get(tail, 0) if "-" not in session else 0):
            await asyncio.sleep(0.001)
        async for chunk in self.inner.stream(prompt_ids, sampling, session=session):
            yield chunk


def told(llm: LLM, options: EngineOptions = GREEDY) -> tuple[Rollout, list[Event]]:
    prompter = Prompter(BYTES, ModelCard(Method.SPRINT, Instruction.NONE))

    async def collect() -> list[Event]:
        return [event async for event in Engine(llm, llm, prompter, 1 << 20).events("q?", options)]

    found = asyncio.run(collect())
    assert isinstance(found[-1], Finished)
    return found[-1].rollout, found


def outcomes(rollout: Rollout) -> list[ExecutionOutcome]:
    assert rollout.trajectory is not None
    return [execution.outcome for execution in rollout.trajectory.rounds[0].executions]


# --- views ----------------------------------------------------------------------------------------------------------


def test_the_authors_view_shows_the_whole_plan_with_the_chosen_prompt_as_the_first() -> None:
    plan = f"One.\n{prompt(4, 1, 'a')}\nTwo.\n{prompt(4, 2, 'b')}\nThree.\n{prompt(4, 3, 'c')}\nEnd."
    assert rearranged(plan, 4, 1) == plan
    assert rearranged(plan, 4, 2) == f"One.\n\nTwo.\n{prompt(4, 1, 'b')}\nThree.\n{prompt(4, 2, 'c')}\nEnd."
    assert rearranged(plan, 4, 3) == f"One.\n\nTwo.\n\nThree.\n{prompt(4, 1, 'c')}\nEnd."


def test_in_the_authors_view_every_execution_is_asked_for_as_the_first_and_joined_under_its_own_number() -> None:
    texts = {"a": "A", "b": "BB", "c": "CCC"}

    def script(context: str) -> str:
        if context.endswith("<execution_1.1>\n"):
            chosen = context.rpartition("<prompt_1.1> ")[2].partition(" </prompt_1.1>")[0]
            return f"{texts[chosen]}\n</execution_1.1>"
        return follow(THREE)(context)

    rollout, _ = told(ScriptedLLM(BYTES, script), replace(GREEDY, view=View.WHOLE_PLAN))
    assert rollout.trajectory == THREE
    assert rollout.stop_reason is StopReason.ANSWERED


# --- stragglers -----------------------------------------------------------------------------------------------------


def test_a_quorum_leaves_out_the_slowest_and_says_so() -> None:
    llm = Slow(lenient, {"execution_1.2": 200})
    rollout, _ = told(llm, replace(GREEDY, quorum=0.6))
    assert outcomes(rollout) == [ExecutionOutcome.COMPLETED, ExecutionOutcome.LEFT_OUT, ExecutionOutcome.COMPLETED]
    assert "[This execution was left out.]" in rollout.text
    assert rollout.stop_reason is StopReason.ANSWERED
    assert llm.inner.running == 0


def test_a_slow_execution_is_hedged_under_another_session_and_counted() -> None:
    llm = Slow(follow(THREE), {"execution_1.2": 500})
    rollout, _ = told(llm, replace(GREEDY, hedge_after_s=0.02))
    assert rollout.trajectory == THREE
    assert rollout.usage.num_hedges == 1
    session, hedge = sorted(set(llm.sessions), key=len)
    assert hedge == f"{session}~1.2"  # round and number after a character that no request id has
    assert llm.inner.running == 0


def test_without_control_nothing_is_discarded_or_asked_twice() -> None:
    rollout, _ = told(Slow(follow(THREE), {"execution_1.2": 20}))
    usage = rollout.usage
    assert (usage.num_hedges, usage.num_retries, usage.discarded_tokens) == (0, 0, 0)
    assert rollout.trajectory == THREE


# --- the authors' retries -------------------------------------------------------------------------------------------


def test_a_plan_beyond_its_gate_is_made_again_and_counted() -> None:
    said = iter([f"<Plan_1>\n{'long ' * 40}\n{PROMPTS}\n</Plan_1>"])

    def script(context: str) -> str:
        return (next(said, None) if context.endswith("<think>\n") else None) or lenient(context)

    rollout, events = told(ScriptedLLM(BYTES, script), replace(GREEDY, attempts=3, plan_gate_tokens=150))
    assert rollout.trajectory == THREE
    assert [event.round for event in events if isinstance(event, Discarded)] == [1]
    assert rollout.usage.num_retries == 1
    assert rollout.usage.discarded_tokens > 200
    assert rollout.usage.pipelined_tokens > rollout.usage.paper_sequential_tokens + 200  # it was waited for


def test_the_last_attempt_is_taken_however_long() -> None:
    rollout, _ = told(ScriptedLLM(BYTES, follow(THREE)), replace(GREEDY, attempts=2, execution_gate_tokens=1))
    assert rollout.trajectory == THREE
    assert rollout.usage.num_retries == 3


def test_a_question_is_worked_on_again_while_no_answer_is_boxed() -> None:
    said = iter(["<Final_answer>\nI do not know.\n</Final_answer>"])

    def script(context: str) -> str:
        return (next(said, None) if context.endswith("<think>\n") else None) or lenient(context)

    rollout, events = told(ScriptedLLM(BYTES, script), replace(GREEDY, rollouts=3))
    assert rollout.trajectory == THREE
    assert rollout.usage.num_retries == 1
    assert rollout.usage.discarded_tokens == len("<Final_answer>\nI do not know.\n</Final_answer>")
    assert any(isinstance(event, Discarded) and event.round == 0 for event in events)


# --- the gate -------------------------------------------------------------------------------------------------------


def test_a_first_plan_without_prompts_leaves_the_rounds_where_the_gate_says_so() -> None:
    def script(context: str) -> str:
        if context.endswith("<think>\n"):
            return "<Plan_1>\nThat is easy.\n</Plan_1>"
        return "<Final_answer>\nIt is \\boxed{4}.\n</Final_answer>\n</think>"

    llm = ScriptedLLM(BYTES, script)
    rollout, _ = told(llm, replace(GREEDY, gate=Gate.FIRST_PLAN))
    assert rollout.answer_text == "It is \\boxed{4}."
    assert llm.calls[-1].sampling.stop == ()
    assert rollout.usage.num_calls == 2
    assert told(ScriptedLLM(BYTES, script), GREEDY)[0].answer_text == rollout.answer_text


def test_a_first_plan_with_prompts_stays_in_rounds_and_a_mode_given_stands_above_the_gate() -> None:
    assert told(ScriptedLLM(BYTES, follow(THREE)), replace(GREEDY, gate=Gate.FIRST_PLAN))[0].trajectory == THREE
    chosen = replace(GREEDY, gate=Gate.FIRST_PLAN, mode=Mode.SEQUENTIAL)
    assert told(ScriptedLLM(BYTES, lambda _: "It is \\boxed{1}."), chosen)[0].usage.num_calls == 1


def test_a_short_question_may_be_answered_without_asking_for_a_plan() -> None:
    policy = FirstPlan(min_question_tokens=50)
    assert policy.before("q", 10) is Mode.SEQUENTIAL
    assert policy.before("q", 90) is Mode.AUTO


# --- order, seeds, repetition ---------------------------------------------------------------------------------------


@given(delays=st.permutations([0, 3, 6]))
@settings(max_examples=6)
def test_a_seeded_rollout_is_the_same_in_whatever_order_its_executions_end(delays: list[int]) -> None:
    llm = Slow(follow(THREE), {f"execution_1.{k}": delay for k, delay in enumerate(delays, 1)})
    rollout, _ = told(llm, EngineOptions(temperature=1.0, seed=7))
    assert rollout.trajectory == THREE
    assert {sampling.seed for sampling in llm.sampled} == SEEDS


def _seeds() -> set[int | None]:
    llm = Slow(follow(THREE), {})
    told(llm, EngineOptions(temperature=1.0, seed=7))
    return {sampling.seed for sampling in llm.sampled}


SEEDS = _seeds()


def test_each_call_has_a_seed_of_its_own() -> None:
    assert len(SEEDS) == 5  # two plans and three executions


def test_executors_go_before_their_planner_and_older_requests_before_newer() -> None:
    llm = Slow(follow(THREE), {})
    told(llm)
    planner = {sampling.priority for sampling in llm.sampled if sampling.chunk_tokens == 1}
    executors = {sampling.priority for sampling in llm.sampled if sampling.chunk_tokens > 1}
    assert {priority + 1 for priority in executors} == planner
    later = Slow(follow(THREE), {})
    told(later, replace(GREEDY, priority=1))
    assert min(sampling.priority for sampling in later.sampled) > max(planner)


def test_a_call_that_says_the_same_over_and_over_is_ended() -> None:
    def script(context: str) -> str:
        return "a b c " * 2000 if context.endswith("<execution_1.2>\n") else lenient(context)

    llm = ScriptedLLM(BYTES, script, chunk_tokens=8)
    rollout, _ = told(llm)
    assert outcomes(rollout)[1] is ExecutionOutcome.RUNAWAY
    assert rollout.stop_reason is StopReason.ANSWERED
    assert 1024 <= llm.calls[2].sampled_tokens < 1400
    forever = ScriptedLLM(BYTES, lambda _: "again " * 4000)
    assert told(forever, replace(GREEDY, mode=Mode.SEQUENTIAL))[0].stop_reason is StopReason.RUNAWAY


@given(
    head=st.lists(st.integers(0, 9), max_size=50),
    cycle=st.lists(st.integers(0, 9), min_size=1, max_size=64),
    over=st.integers(130, 400),
)
def test_every_short_cycle_is_seen_once_it_fills_the_window(head: list[int], cycle: list[int], over: int) -> None:
    ids = head + (cycle * over)[: over + 1]
    assert repeats_itself(ids, over)
    assert not repeats_itself(ids, None)
    assert not repeats_itself([*ids[:-1], 10], over)


# --- recordings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dispatch", list(Dispatch))
@given(trajectory=trajectories())
@settings(max_examples=20)
def test_a_recording_gives_back_the_events_and_their_text(dispatch: Dispatch, trajectory: Trajectory) -> None:
    rollout, events = told(ScriptedLLM(BYTES, follow(trajectory), chunk_tokens=9), replace(GREEDY, dispatch=dispatch))
    again = [recording.from_line(recording.to_line(event)) for event in events]
    assert again == events
    assert recording.text_of(again) == rollout.text


def test_a_recording_survives_its_file_and_bad_lines_are_named(tmp_path: Path) -> None:
    _, events = told(ScriptedLLM(BYTES, lenient), replace(GREEDY, max_rounds=1))
    recording.write(tmp_path / "one.jsonl", events)
    assert list(recording.read(tmp_path / "one.jsonl")) == events
    for line in (
        {"kind": "nothing"},
        {"kind": "delta"},
        {"kind": "delta", "part": "x", "round": 1, "number": 0, "text": ""},
    ):
        with pytest.raises(InputError, match="event"):
            recording.from_line(line)


def test_an_engine_that_fails_under_a_hedge_does_not_take_the_other_answer_along() -> None:
    class Failing(Slow):
        async def stream(
            self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
        ) -> AsyncGenerator[Chunk, None]:
            if "~" in session:
                raise LLMError("the other replica is gone")
            async for chunk in super().stream(prompt_ids, sampling, session=session):
                yield chunk

    rollout, _ = told(Failing(follow(THREE), {"execution_1.2": 50}), replace(GREEDY, hedge_after_s=0.01))
    assert rollout.trajectory == THREE
