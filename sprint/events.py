"""What a rollout says while it runs, as typed events. The last one is always `Finished`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

from sprint.types import ExecutionOutcome, PlanOutcome, Rollout


class Part(StrEnum):
    """Which part of a rollout a piece of text belongs to."""

    PLAN = "plan"
    EXECUTION = "execution"
    FINAL = "final"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of the events."""

    kind: ClassVar[str] = "event"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the event's kind."""
        return {"kind": self.kind} | asdict(self)


@dataclass(frozen=True, slots=True)
class Delta(Event):
    """Text as it was sampled. `number` is the prompt's for an execution and 0 otherwise."""

    kind: ClassVar[str] = "delta"
    part: Part
    round: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class RoundStarted(Event):
    """The planner begins a plan, or, where the runtime says so, its final answer."""

    kind: ClassVar[str] = "round_started"
    round: int


@dataclass(frozen=True, slots=True)
class PlanEnded(Event):
    """A planner's turn is over. `text` is what of it stands in the context from now on."""

    kind: ClassVar[str] = "plan_ended"
    round: int
    outcome: PlanOutcome
    num_prompts: int
    generated_tokens: int
    text: str


@dataclass(frozen=True, slots=True)
class Discarded(Event):
    """What was shown of a round so far is thrown away: the plan was too long, or (round 0) everything begins again."""

    kind: ClassVar[str] = "discarded"
    round: int


@dataclass(frozen=True, slots=True)
class ExecutionStarted(Event):
    """A prompt closed and its executor was called."""

    kind: ClassVar[str] = "execution_started"
    round: int
    number: int
    instruction: str


@dataclass(frozen=True, slots=True)
class ExecutionFinished(Event):
    """An executor is done."""

    kind: ClassVar[str] = "execution_finished"
    round: int
    number: int
    outcome: ExecutionOutcome
    generated_tokens: int


@dataclass(frozen=True, slots=True)
class RoundJoined(Event):
    """All executions of a round stand in the planner's context. `text` is the whole execution block."""

    kind: ClassVar[str] = "round_joined"
    round: int
    num_executions: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The rollout is over."""

    kind: ClassVar[str] = "finished"
    rollout: Rollout

    def as_dict(self) -> dict[str, Any]:
        usage = self.rollout.usage.as_dict()
        return {"kind": self.kind, "stop_reason": self.rollout.stop_reason, "usage": usage}
