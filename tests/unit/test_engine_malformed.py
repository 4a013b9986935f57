"""Models write what they like: for each way to break the protocol, what the engine makes of it. Every rollout ends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from sprint.events import PlanEnded
from sprint.tags import prompt
from sprint.types import ExecutionOutcome, PlanOutcome, StopReason
from tests.fuzz.cases import Case, Say
from tests.fuzz.loop import VirtualLoop
from tests.fuzz.play import Seen, played

FINAL = "<Final_answer>\nIt is \\boxed{7}.\n</Final_answer>"
A = "<prompt_1.1> a </prompt_1.1>"
PLAN = f"<Plan_1>\n{A}\n</Plan_1>"
DONE = "done\n</execution_1.1>"
COMPLETED, ENDED = ExecutionOutcome.COMPLETED, ExecutionOutcome.ENDED
FAILED, NO_ROOM = ExecutionOutcome.FAILED, ExecutionOutcome.NO_ROOM


@dataclass(frozen=True)
class Odd:
    """What is said, and what comes of it: how the first plan ends, the executions of the first round, and the end."""

    planner: tuple[str | Say, ...]
    plan: PlanOutcome
    executions: tuple[tuple[str, ExecutionOutcome], ...] = ()
    stop: StopReason = StopReason.ANSWERED
    executor: str | Say = DONE
    options: dict[str, Any] = field(default_factory=dict)
    context_tokens: int = 100_000

    def case(self, chunk: int) -> Case:
        says = [say if isinstance(say, Say) else Say(say, (chunk,)) for say in (*self.planner, self.executor)]
        return Case(tuple(says[:-1]), (says[-1],), self.options, self.context_tokens, tokenizer="bytes")


ONE = (("done", COMPLETED),)
CLOSED, FINAL_, LEFT_OPEN = PlanOutcome.CLOSED, PlanOutcome.FINAL, PlanOutcome.ENDED

TABLE: dict[str, Odd] = {
    # malformed plans: what was written is a plan, its closed prompts are executed, the runtime closes what is open
    "no opening tag": Odd((f"{A}\n</Plan_1>", FINAL), CLOSED, ONE),
    "a plan never closed": Odd((f"<Plan_1>\n{A}\nand", FINAL), LEFT_OPEN, ONE),
    "a tag half written": Odd((f"<Plan_1>\n{A}\n</Pla", FINAL), LEFT_OPEN, ONE),
    "no tags at all": Odd(("I would say seven.",), LEFT_OPEN, (), StopReason.ENDED),
    "text after the plan": Odd((Say(f"{PLAN}\n\nmore", rude=True), FINAL), CLOSED, ONE),
    "it begins to execute itself": Odd((f"<Plan_1>\n{A}\n<Execution_1>\n<execution_1.1>\nmine", FINAL), LEFT_OPEN, ONE),
    "an answer that is never closed": Odd((PLAN, "<Final_answer>\n\\boxed{7}"), CLOSED, ONE, StopReason.ENDED),
    "an answer cut off": Odd(
        (PLAN, "<Final_answer>\n" + "x" * 99), CLOSED, ONE, StopReason.TOKEN_LIMIT, options={"max_plan_tokens": 60}
    ),
    # wrong numbers: the runtime counts
    "wrong numbers": Odd(("<Plan_5>\n<prompt_9.9> a </prompt_9.9>\n</Plan_5>", FINAL), CLOSED, ONE),
    "a branch that closes another": Odd((PLAN, FINAL), CLOSED, ONE, executor="done\n</execution_7.3>"),
    # nested or unclosed tags: an opening tag begins the prompt anew, and only a closed prompt is one
    "prompts that nest": Odd(("<Plan_1>\n<prompt_1.1> x <prompt_1.2> a </prompt_1.2></prompt_1.1>\n</Plan_1>", FINAL),
                             CLOSED, ONE),
    "a prompt never closed": Odd(("<Plan_1>\n<prompt_1.1> a\n</Plan_1>", FINAL), CLOSED),
    "a branch that plans": Odd((PLAN, FINAL), CLOSED, (("so", ENDED),), executor=f"so\n{PLAN}"),
    "a branch that asks": Odd((PLAN, FINAL), CLOSED, (("so", ENDED),), executor=f"so\n{A}"),
    # empty prompts and executions: executed as they stand
    "an empty prompt": Odd(("<Plan_1>\n<prompt_1.1></prompt_1.1>\n</Plan_1>", FINAL), CLOSED, ONE),
    "an empty branch": Odd((PLAN, FINAL), CLOSED, (("", ENDED),), executor=""),
    "an empty plan": Odd(("<Plan_1>\n</Plan_1>", FINAL), CLOSED),
    "nothing at all": Odd(("",), LEFT_OPEN, (), StopReason.ENDED),
    "nothing, not even an end": Odd((Say("", end="silent"),), LEFT_OPEN, (), StopReason.ENDED),
    # too many prompts: the rest are marked
    "too many prompts": Odd(
        ("<Plan_1>\n" + "\n".join(prompt(1, k, "a") for k in (1, 2, 3)) + "\n</Plan_1>", FINAL),
        CLOSED,
        (*ONE, *ONE, ("[This prompt was not executed: too many prompts in one plan.]", ExecutionOutcome.SKIPPED)),
        options={"max_prompts": 2},
    ),
    # stray closers
    "a prompt closed before it is opened": Odd((f"<Plan_1>\n</prompt_1.1>{A}\n</Plan_1>", FINAL), CLOSED, ONE),
    "a prompt closed twice": Odd((f"<Plan_1>\n{A}</prompt_1.1>\n</Plan_1>", FINAL), CLOSED, ONE),
    "an execution closed in a plan": Odd((f"<Plan_1>\n{A}\n</execution_1.1>mine", FINAL), LEFT_OPEN, ONE),
    "the thought closed in a plan": Odd((f"<Plan_1>\n{A}\n</think>bye", FINAL), LEFT_OPEN, ONE),
    "an answer closed before it is opened": Odd(("seven\n</Final_answer>",), FINAL_),
    "the thought closed in a branch": Odd((PLAN, FINAL), CLOSED, (("so", ENDED),), executor="so\n</think>bye"),
    # the end inside a branch: what was written is used
    "the end inside a branch": Odd((PLAN, FINAL), CLOSED, (("half", ENDED),), executor="half"),
    "a branch without an end": Odd((PLAN, FINAL), CLOSED, (("half", ENDED),), executor=Say("half", end="silent")),
    "a branch cut off": Odd((PLAN, FINAL), CLOSED, (("x" * 9, ExecutionOutcome.TRUNCATED),), executor="x" * 99,
                            options={"max_execution_tokens": 9}),
    # runaway repetition: the call is ended, what was written is used
    "a branch that repeats itself": Odd(
        (PLAN, FINAL), CLOSED, (("so " * 43 + "so", ExecutionOutcome.RUNAWAY),), executor=Say("so " * 900, (131,)),
        options={"repetition_tokens": 100},
    ),
    "a plan that repeats itself": Odd(
        (Say(f"<Plan_1>\n{A}\n" + "so " * 900, (131,)), FINAL), PlanOutcome.RUNAWAY, ONE,
        options={"repetition_tokens": 100},
    ),
    "an answer that repeats itself": Odd(
        (Say("<Final_answer>\n" + "so " * 900, (131,)),), PlanOutcome.RUNAWAY, (), StopReason.RUNAWAY,
        options={"repetition_tokens": 100},
    ),
    # context overflow
    "a question that fills the context": Odd((FINAL,), FINAL_, (), StopReason.CONTEXT_FULL, context_tokens=5),
    "a branch that does not fit": Odd(
        (f"<Plan_1>\n{A}", FINAL), LEFT_OPEN, (("[This execution did not fit the context.]", NO_ROOM),),
        StopReason.CONTEXT_FULL, context_tokens=60,
    ),
    "a branch that the engine finds too long": Odd(
        (PLAN, FINAL), CLOSED, (("[This execution did not fit the context.]", NO_ROOM),),
        executor=Say("half", end="overflow"),
    ),
    "a plan that the engine finds too long": Odd(
        (Say("<Plan_1>\n", end="overflow"),), LEFT_OPEN, (), StopReason.CONTEXT_FULL
    ),
    # models that fail
    "a branch that fails": Odd(
        (PLAN, FINAL), CLOSED, (("[This execution failed.]", FAILED),), executor=Say("half", end="unavailable")
    ),
    "a planner that fails": Odd((Say("<Plan_1>\nso", end="error"),), LEFT_OPEN, (), StopReason.FAILED),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("odd", TABLE.values(), ids=TABLE.keys())
def test_whatever_is_written_has_an_outcome(odd: Odd, chunk: int) -> None:
    seen = played(odd.case(chunk), VirtualLoop())
    rollout = seen.rollout
    assert rollout.stop_reason is odd.stop
    assert rollout.trajectory is not None
    rounds = rollout.trajectory.rounds
    assert tuple((e.text.strip(), e.outcome) for e in (rounds[0].executions if rounds else ())) == odd.executions
    ends = [event.outcome for event in seen.events if isinstance(event, PlanEnded)]
    assert ends[:1] in ([odd.plan], [])  # a call that failed has no end of its own
    if odd.stop is StopReason.ANSWERED:
        assert rollout.answer_text.strip()
    _is_whole(seen)


def _is_whole(seen: Seen) -> None:
    """Nothing that was cut off stands in the text, the runtime closed what it opened, and the events can be stored."""
    text = seen.rollout.text
    assert "mine" not in text
    assert "more" not in text
    assert text.count("<execution_") == text.count("</execution_")
    assert text.count("<Execution_") == text.count("</Execution_")
    for event in seen.events:
        assert json.loads(json.dumps(event.as_dict()))["kind"] == event.kind
