"""Rollouts of every kind that a service meets, made by the engine itself on a scripted model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import LLMError, LLMUnavailable
from sprint.options import EngineOptions, Mode
from sprint.render import Prompter
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, Rollout, Round, StopReason, Trajectory
from tests.unit.follow import follow

BYTES = ByteTokenizer()
QUESTION = "What is the secret sum?"
PAIR = Round(f"Two.\n{prompt(1, 1, 'a')}\n{prompt(1, 2, 'b')}", (Execution("A is 1."), Execution("B is secret.")))
LONE = Round(f"Then.\n{prompt(2, 1, 'c')}", (Execution("C is 3."),))
TWO_ROUNDS = Trajectory((PAIR, LONE), "So \\boxed{3}.")


def engine(script: Script, **values: float) -> Engine:
    card = ModelCard(Method.SPRINT, Instruction.NONE)
    return Engine(*[ScriptedLLM(BYTES, script, **values)] * 2, Prompter(BYTES, card), 1 << 16)  # type: ignore[arg-type]


def answered(script: Script, **values: object) -> Rollout:
    options = EngineOptions(temperature=0, **values)  # type: ignore[arg-type]
    return asyncio.run(engine(script, token_s=0.0001).run(QUESTION, options))


def in_rounds() -> Rollout:
    return answered(follow(TWO_ROUNDS))


def sequential() -> Rollout:
    return answered(lambda _: "It is \\boxed{4}.</think>\n4", mode=Mode.SEQUENTIAL)


def with_a_failed_execution() -> Rollout:
    def script(context: str) -> str:
        if context.endswith("<execution_1.2>\n"):
            raise LLMError("no such luck")
        return lenient(context)

    return answered(script)


def failed() -> Rollout:
    def script(context: str) -> str:
        if "<Execution_1>" in context:
            raise LLMUnavailable("the engine went away")
        return lenient(context)

    return answered(script)


def lenient(context: str) -> str:
    """Says the first round and an answer, whatever became of the executions."""
    if executor := re.search(r"<execution_1\.(\d)>\n\Z", context):
        return f"{PAIR.executions[int(executor[1]) - 1].text}\n</execution_1.{executor[1]}>"
    if "<Execution_1>" in context:
        return "<Final_answer>\n\\boxed{3}\n</Final_answer>"
    return f"<Plan_1>\n{PAIR.plan}\n</Plan_1>"


def all_kinds() -> Sequence[Rollout]:
    rollouts = [in_rounds(), in_rounds(), sequential(), with_a_failed_execution(), failed()]
    reasons = [rollout.stop_reason for rollout in rollouts]
    assert reasons == [StopReason.ANSWERED] * 4 + [StopReason.FAILED], "the scripts do not do what they are for"
    return rollouts
