"""Whether a question is worth rounds: the policy of mode `auto`.

A policy sees cheap things only: the question, and the model's own first plan. It knows no engine. The default is to
answer as the model was taught; others plug in by implementing `Policy`.
"""

from __future__ import annotations

from typing import Protocol

from sprint.options import Gate, Mode


class Policy(Protocol):
    """Decides for a question that a model would answer in rounds."""

    def before(self, question: str, question_tokens: int) -> Mode:
        """PARALLEL or SEQUENTIAL; AUTO leaves it to the first plan."""
        ...

    def after_first_plan(self, num_prompts: int, plan_tokens: int) -> Mode:
        """PARALLEL goes on in rounds; SEQUENTIAL lets the planner write the rest in one call."""
        ...


class AsTaught:
    """Rounds, whatever the question."""

    def before(self, question: str, question_tokens: int) -> Mode:
        return Mode.PARALLEL

    def after_first_plan(self, num_prompts: int, plan_tokens: int) -> Mode:
        return Mode.PARALLEL


class FirstPlan:
    """Leaves the rounds when the first plan hands out nothing: what the model itself finds not worth an executor.

    min_question_tokens  shorter questions are answered in one breath without asking for a plan
    """

    def __init__(self, min_question_tokens: int = 0) -> None:
        self.min_question_tokens = min_question_tokens

    def before(self, question: str, question_tokens: int) -> Mode:
        return Mode.SEQUENTIAL if question_tokens < self.min_question_tokens else Mode.AUTO

    def after_first_plan(self, num_prompts: int, plan_tokens: int) -> Mode:
        return Mode.PARALLEL if num_prompts else Mode.SEQUENTIAL


def policy(gate: Gate) -> Policy:
    """The shipped policy of that name."""
    return FirstPlan() if gate is Gate.FIRST_PLAN else AsTaught()
