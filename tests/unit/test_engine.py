"""Laws of the planner/executor loop, on scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.card import Instruction, Method, ModelCard
from sprint.ending import error_kind
from sprint.engine import Engine
from sprint.errors import ConfigError, EndpointFailed, LLMError, LLMTimeout, LLMUnavailable
from sprint.events import Delta, Event, ExecutionFinished, ExecutionStarted, Finished, Part, RoundJoined
from sprint.llm import LLM, Chunk, Sampling
from sprint.options import Dispatch, EngineOptions, Mode
from sprint.render import Prompter, trajectory_text
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer, Tokenizer
from sprint.types import Execution, ExecutionOutcome, Failure, Rollout, Round, StopReason, Trajectory
from tests.unit.follow import follow
from tests.unit.strategies import JoiningTokenizer, trajectories

BYTES = ByteTokenizer()
GREEDY = EngineOptions(temperature=0)
TWO = Trajectory(
    (Round(f"Two.\n{prompt(1, 1, 'a')}\n{prompt(1, 2, 'b')}\nDone.", (Execution("A is 1."), Execution("B is 2."))),),
    "So \\boxed{3}.",
)


def engine(script: Script | LLM, executor: Script | LLM | None = None, context_tokens: int = 1 << 20) -> Engine:
    planner = script if not callable(script) else ScriptedLLM(BYTES, script)
    other = planner if executor is None else executor if not callable(executor) else ScriptedLLM(BYTES, executor)
    card = ModelCard(Method.SPRINT, Instruction.NONE)
    return Engine(planner, other, Prompter(BYTES, card), context_tokens)  # type: ignore[arg-type]


def run(the_engine: Engine, options: EngineOptions = GREEDY) -> Rollout:
    return asyncio.run(the_engine.run("q?", options))


def events(the_engine: Engine, options: EngineOptions = GREEDY) -> list[Event]:
    async def collect() -> list[Event]:
        return [event async for event in the_engine.events("q?", options)]

    return asyncio.run(collect())


def turns(*plans: str, execution: str = "done\n</execution_1.1>") -> Script:
    """A planner that says `plans` in turn, and an executor that always says the same."""
    said = iter(plans)

    def script(context: str) -> str:
        return execution if context.rpartition("\n<")[2].startswith("execution_") else next(said)

    return script


# --- what is said is what comes out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dispatch", list(Dispatch))
@pytest.mark.parametrize("tokenizer", [BYTES, JoiningTokenizer()])
@given(trajectory=trajectories(), chunk_tokens=st.integers(1, 40))
@settings(max_examples=25)
def test_the_rollout_is_the_trajectory_whatever_the_chunking(
    dispatch: Dispatch, tokenizer: Tokenizer, trajectory: Trajectory, chunk_tokens: int
) -> None:
    llm = ScriptedLLM(tokenizer, follow(trajectory), chunk_tokens=chunk_tokens)
    prompter = Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.NONE))
    rollout = run(Engine(llm, llm, prompter, 1 << 20), replace(GREEDY, dispatch=dispatch))
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.trajectory == trajectory
    assert rollout.text == trajectory_text(trajectory)
    usage = rollout.usage
    critical = (usage.paper_sequential_tokens, usage.pipelined_tokens, usage.barrier_tokens, usage.generated_tokens)
    assert list(critical) == sorted(critical)


@given(trajectory=trajectories())
@settings(max_examples=30)
def test_every_token_of_the_context_is_sampled_or_written_by_the_runtime(trajectory: Trajectory) -> None:
    rollout = run(engine(follow(trajectory)))
    headers = sum(len(f"\n<execution_{r}.{k + 1}>\n") for r, round in enumerate(trajectory.rounds, 1)
                  for k in range(len(round.executions)))  # fmt: skip
    sampled_or_written = rollout.usage.generated_tokens + rollout.usage.runtime_tokens - headers
    assert len(rollout.token_ids) - len(rollout.prompt_ids) == sampled_or_written


def test_the_events_tell_the_whole_story() -> None:
    told = events(engine(follow(TWO)))
    shown = "".join(event.text for event in told if isinstance(event, Delta) and event.part is Part.PLAN)
    assert shown == f"<Plan_1>\n{TWO.rounds[0].plan}\n</Plan_1>"
    assert [e.instruction for e in told if isinstance(e, ExecutionStarted)] == ["a", "b"]
    assert {e.number for e in told if isinstance(e, ExecutionFinished)} == {1, 2}
    assert [e.num_executions for e in told if isinstance(e, RoundJoined)] == [2]
    final = "".join(event.text for event in told if isinstance(event, Delta) and event.part is Part.FINAL)
    assert final.endswith("So \\boxed{3}.\n</Final_answer>")
    assert isinstance(told[-1], Finished)
    assert sum(isinstance(event, Finished) for event in told) == 1


# --- dispatch -------------------------------------------------------------------------------------------------------


def _plan_ended_before_first_execution(dispatch: Dispatch) -> bool:
    told = events(engine(ScriptedLLM(BYTES, follow(TWO))), replace(GREEDY, dispatch=dispatch))
    first = next(i for i, event in enumerate(told) if isinstance(event, ExecutionStarted))
    return any(isinstance(event, Delta) and "</Plan_1>" in event.text for event in told[:first])


def test_pipelined_starts_an_executor_while_the_planner_still_writes() -> None:
    assert not _plan_ended_before_first_execution(Dispatch.PIPELINED)
    assert _plan_ended_before_first_execution(Dispatch.BARRIER)


@pytest.mark.parametrize("slow", [1, 2])
def test_joins_do_not_depend_on_who_finishes_first(slow: int) -> None:
    class Uneven(ScriptedLLM):
        async def stream(
            self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
        ) -> AsyncGenerator[Chunk, None]:
            if BYTES.decode(prompt_ids).endswith(f"<execution_1.{slow}>\n"):
                await asyncio.sleep(0.05)
            async with aclosing(super().stream(prompt_ids, sampling, session=session)) as chunks:
                async for chunk in chunks:
                    yield chunk

    told = events(engine(Uneven(BYTES, follow(TWO))))
    assert [e.number for e in told if isinstance(e, ExecutionFinished)] == [3 - slow, slow]
    rollout = told[-1].rollout  # type: ignore[attr-defined]
    assert rollout.text == trajectory_text(TWO)


def test_executors_run_side_by_side_but_no_more_than_allowed() -> None:
    plan = "<Plan_1>\n" + "\n".join(prompt(1, k, "x") for k in range(1, 7)) + "\n</Plan_1>"
    script = turns(plan, "<Final_answer>\nok\n</Final_answer>", execution="done " * 20 + "\n</execution_1.1>")
    for limit, expected in ((6, 6), (2, 2)):
        executor = ScriptedLLM(BYTES, script)
        said = turns(plan, "<Final_answer>\nok\n</Final_answer>")
        run(engine(said, executor), replace(GREEDY, dispatch=Dispatch.BARRIER, max_concurrency=limit))
        assert executor.most_running == expected
        assert executor.running == 0


# --- models write what they like ------------------------------------------------------------------------------------

FINAL = "<Final_answer>\nIt is \\boxed{7}.\n</Final_answer>"
ODD_PLANS = {
    "wrong numbers": "<Plan_5>\n<prompt_9.9> a </prompt_9.9>\n</Plan_5>",
    "no opening tag": "<prompt_1.1> a </prompt_1.1>\n</Plan_1>",
    "never closed": "<Plan_1>\n<prompt_1.1> a </prompt_1.1>\nand",
    "a prompt opened twice": "<Plan_1>\n<prompt_1.1> lost <prompt_1.2> a </prompt_1.2>\n</Plan_1>",
    "a stray closing prompt": "<Plan_1>\n</prompt_1.1> <prompt_1.1> a </prompt_1.1>\n</Plan_1>",
    "it begins to execute itself": "<Plan_1>\n<prompt_1.1> a </prompt_1.1>\n<Execution_1>\n<execution_1.1>\nmine",
    "it closes the thought": "<Plan_1>\n<prompt_1.1> a </prompt_1.1>\n</think>bye",
    "text after the end": "<Plan_1>\n<prompt_1.1> a </prompt_1.1>\n</Plan_1>\n\nmore",
}


@pytest.mark.parametrize("plan", ODD_PLANS.values(), ids=ODD_PLANS.keys())
@pytest.mark.parametrize("chunk_tokens", [1, 1000])
def test_an_odd_plan_is_executed_and_the_rollout_goes_on(plan: str, chunk_tokens: int) -> None:
    llm = ScriptedLLM(BYTES, turns(plan, FINAL), chunk_tokens=chunk_tokens)
    rollout = run(engine(llm))
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.answer_text == "It is \\boxed{7}."
    assert rollout.trajectory is not None
    assert [e.text for e in rollout.trajectory.rounds[0].executions] == ["done"]
    assert "<Execution_1>\n<execution_1.1>\ndone\n</execution_1.1>\n</Execution_1>" in rollout.text
    assert "mine" not in rollout.text
    assert "more" not in rollout.text
    assert rollout.text.count("</Plan_") == 1


@pytest.mark.parametrize(
    ("execution", "outcome", "text"),
    [
        ("fine\n</execution_1.1>", ExecutionOutcome.COMPLETED, "fine"),
        ("fine\n</execution_7.3>", ExecutionOutcome.COMPLETED, "fine"),
        ("fine", ExecutionOutcome.ENDED, "fine"),
        ("fine\n</Plan_1>rest", ExecutionOutcome.ENDED, "fine"),
        ("fine\n<prompt_1.1> again </prompt_1.1>", ExecutionOutcome.ENDED, "fine"),
        ("", ExecutionOutcome.ENDED, ""),
        ("fine " * 100, ExecutionOutcome.TRUNCATED, ("fine " * 100)[:50]),
    ],
)
def test_an_odd_execution_has_an_outcome_and_is_joined(execution: str, outcome: ExecutionOutcome, text: str) -> None:
    plan = f"<Plan_1>\n{prompt(1, 1, 'a')}\n</Plan_1>"
    rollout = run(engine(turns(plan, FINAL, execution=execution)), replace(GREEDY, max_execution_tokens=50))
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.trajectory is not None
    (got,) = rollout.trajectory.rounds[0].executions
    assert (got.outcome, got.text.strip()) == (outcome, text.strip())
    assert rollout.text.count("<execution_1.1>") == rollout.text.count("</execution_") == 1


def test_prompts_beyond_the_limit_are_marked_not_lost() -> None:
    plan = "<Plan_1>\n" + "\n".join(prompt(1, k, "x") for k in range(1, 5)) + "\n</Plan_1>"
    rollout = run(engine(turns(plan, FINAL)), replace(GREEDY, max_prompts=2))
    assert rollout.trajectory is not None
    outcomes = [execution.outcome for execution in rollout.trajectory.rounds[0].executions]
    assert outcomes == [ExecutionOutcome.COMPLETED] * 2 + [ExecutionOutcome.SKIPPED] * 2
    assert rollout.text.count("too many prompts") == 2


def _failing(error: Exception) -> Script:
    def script(_: str) -> str:
        raise error

    return script


def test_a_failed_execution_is_marked_and_the_planner_goes_on() -> None:
    plan = f"<Plan_1>\n{prompt(1, 1, 'a')}\n</Plan_1>"
    rollout = run(engine(turns(plan, FINAL), _failing(LLMUnavailable("gone"))))
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.trajectory is not None
    assert rollout.trajectory.rounds[0].executions[0].outcome is ExecutionOutcome.FAILED
    assert "[This execution failed.]" in rollout.text
    assert rollout.detail == "gone"


def test_an_execution_over_its_time_is_marked_and_its_call_cancelled() -> None:
    plan = f"<Plan_1>\n{prompt(1, 1, 'a')}\n</Plan_1>"
    slow = ScriptedLLM(BYTES, lambda _: "z" * 1000, token_s=0.01)
    rollout = run(engine(turns(plan, FINAL), slow), replace(GREEDY, execution_timeout_s=0.05))
    assert rollout.trajectory is not None
    assert rollout.trajectory.rounds[0].executions[0].outcome is ExecutionOutcome.TIMED_OUT
    assert not slow.calls[0].finished
    assert rollout.stop_reason is StopReason.ANSWERED


# --- every rollout ends ---------------------------------------------------------------------------------------------


def test_the_last_round_must_answer() -> None:
    plan = "<Plan_1>\nhm\n</Plan_1>"
    told = events(engine(turns(plan, plan, "\\boxed{9}\n</Final_answer>")), replace(GREEDY, max_rounds=3))
    rollout = told[-1].rollout  # type: ignore[attr-defined]
    final = "".join(event.text for event in told if isinstance(event, Delta) and event.part is Part.FINAL)
    assert final == "<Final_answer>\n\\boxed{9}\n</Final_answer>"
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.answer_text == "\\boxed{9}"
    assert rollout.text.endswith("<Final_answer>\n\\boxed{9}\n</Final_answer>\n</think>")


@pytest.mark.parametrize(
    ("options", "context_tokens", "reason"),
    [
        (EngineOptions(temperature=0, max_tokens=20), 1 << 20, StopReason.TOKEN_LIMIT),
        (EngineOptions(temperature=0, max_plan_tokens=20, max_rounds=1), 1 << 20, StopReason.TOKEN_LIMIT),
        (GREEDY, 60, StopReason.CONTEXT_FULL),
        (GREEDY, 5, StopReason.CONTEXT_FULL),
        (EngineOptions(temperature=0, time_limit_s=0.05), 1 << 20, StopReason.TIME_LIMIT),
    ],
)
def test_every_limit_has_its_stop_reason(options: EngineOptions, context_tokens: int, reason: StopReason) -> None:
    endless = ScriptedLLM(BYTES, lambda _: "<Plan_1>\n" + "think " * 2000, token_s=0.001, context_tokens=context_tokens)
    rollout = run(engine(endless, context_tokens=context_tokens), options)
    assert rollout.stop_reason is reason
    assert all(
        len(call.prompt_ids) + call.sampled_tokens <= context_tokens for call in endless.calls if call.sampled_tokens
    )
    assert rollout.usage.generated_tokens <= options.max_tokens


def test_a_planner_that_fails_ends_the_rollout_with_the_reason() -> None:
    rollout = run(engine(_failing(LLMError("the engine is on fire"))))
    assert rollout.stop_reason is StopReason.FAILED
    assert rollout.detail == "the engine is on fire"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (LLMError("broke"), Failure.ENGINE),
        (LLMUnavailable("gone"), Failure.UNAVAILABLE),
        (LLMTimeout("slow"), Failure.TIMEOUT),
        (EndpointFailed("refused"), Failure.REMOTE),
    ],
)
def test_a_failure_has_its_kind_and_its_call_is_closed_in_the_books(error: LLMError, failure: Failure) -> None:
    rollout = run(engine(_failing(error)))
    assert rollout.failure is failure
    assert error_kind(failure) is type(error)
    (span,) = rollout.timeline
    assert span.outcome == "failed"
    assert span.end_s >= span.start_s
    assert rollout.usage.planning_s >= 0


def test_a_planner_that_says_nothing_ends_the_rollout() -> None:
    assert run(engine(lambda _: "")).stop_reason is StopReason.ENDED


def test_closing_the_events_cancels_every_call() -> None:
    plan = f"<Plan_1>\n{prompt(1, 1, 'a')}\n{prompt(1, 2, 'b')}\n</Plan_1>"
    executor = ScriptedLLM(BYTES, lambda _: "z" * 10_000, token_s=0.1)

    async def leave_early() -> None:
        async with aclosing(engine(turns(plan, FINAL), executor).events("q?", GREEDY)) as told:
            async for event in told:
                if isinstance(event, Delta) and event.part is Part.EXECUTION:
                    return

    asyncio.run(leave_early())
    assert len(executor.calls) == 2
    assert not any(call.finished for call in executor.calls)


# --- sampling, modes, accounts --------------------------------------------------------------------------------------


def test_seeds_differ_by_call_and_repeat_by_rollout() -> None:
    llms = [ScriptedLLM(BYTES, follow(TWO)) for _ in range(2)]
    for llm in llms:
        run(engine(llm), replace(GREEDY, seed=5))
    seeds = [{call.prompt_ids: call.sampling.seed for call in llm.calls} for llm in llms]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0].values())) == len(seeds[0]) == 4


def test_one_rollout_is_one_session() -> None:
    llm = ScriptedLLM(BYTES, follow(TWO))
    run(engine(llm))
    assert len({call.session for call in llm.calls}) == 1


@pytest.mark.parametrize("text", ["I add.\n\nIt is \\boxed{7}.\n</think>", "I add.\n</think>\nIt is \\boxed{7}."])
def test_a_sequential_model_is_asked_once_and_counted_alike(text: str) -> None:
    llm = ScriptedLLM(BYTES, lambda _: text)
    prompter = Prompter(BYTES, ModelCard(Method.RFT, Instruction.NONE))
    rollout = run(Engine(llm, llm, prompter, 1 << 20))
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.answer_text == "It is \\boxed{7}."
    assert rollout.text == "<think>\n" + text
    usage = rollout.usage
    generated = usage.generated_tokens
    assert generated == len(text) + 1
    assert (usage.pipelined_tokens, usage.barrier_tokens, usage.paper_sequential_tokens) == (generated,) * 3
    assert usage.num_calls == 1


def test_the_mode_overrides_what_the_model_was_taught() -> None:
    llm = ScriptedLLM(BYTES, lambda _: "straight on \\boxed{1}")
    assert run(engine(llm), replace(GREEDY, mode=Mode.SEQUENTIAL)).trajectory is None


def test_the_prefix_cache_serves_the_executors() -> None:
    llm = ScriptedLLM(BYTES, follow(TWO), block_tokens=1)
    rollout = run(engine(llm), replace(GREEDY, dispatch=Dispatch.BARRIER))
    executions = [span for span in rollout.timeline if span.kind == "execution"]
    assert all((span.cached_tokens or 0) > 0 for span in executions)
    assert rollout.usage.cached_prompt_tokens == sum(span.cached_tokens or 0 for span in rollout.timeline)
    assert 0 < (rollout.usage.prefix_hit_rate or 0) < 1


def test_the_timeline_holds_every_call_in_order() -> None:
    rollout = run(engine(follow(TWO)))
    assert [span.kind for span in rollout.timeline] == ["plan", "execution", "execution", "final"]
    for span in rollout.timeline:
        assert 0 <= span.start_s <= (span.first_token_s or 0) <= span.end_s <= rollout.usage.wall_s


@pytest.mark.parametrize("bad", [{"max_rounds": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"time_limit_s": -2.0}])
def test_options_out_of_range_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as caught:
        EngineOptions(**bad)  # type: ignore[arg-type]
    assert next(iter(bad)) in str(caught.value)
