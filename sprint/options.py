"""The engine's choices, each one enum or one number with its meaning. Knows no loop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sprint.errors import ConfigError


class Mode(StrEnum):
    """Whether a question is answered in rounds."""

    AUTO = "auto"  # as the model was taught
    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


class Dispatch(StrEnum):
    """When an executor starts."""

    PIPELINED = "pipelined"  # when its prompt closes, while the planner still writes
    BARRIER = "barrier"  # when the whole plan is written (what the authors' code does)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits and sampling of one rollout. Defaults follow the paper (A.1): 12 rounds, 8,000 tokens a call, T = 0.6.

    max_prompts          prompts of one round that are executed; the rest are marked and joined as skipped
    max_plan_tokens      most tokens of one planner turn
    max_execution_tokens most tokens of one execution
    max_tokens           most tokens sampled in the whole rollout
    max_concurrency      executions of this rollout that run at once
    execution_timeout_s  time limit of one execution; None: no limit
    time_limit_s         time limit of the rollout; None: no limit
    seed                 with it, each call gets a seed of its own derived from round and prompt number
    """

    mode: Mode = Mode.AUTO
    dispatch: Dispatch = Dispatch.PIPELINED
    max_rounds: int = 12
    max_prompts: int = 32
    max_plan_tokens: int = 8_000
    max_execution_tokens: int = 8_000
    max_tokens: int = 36_000
    max_concurrency: int = 32
    temperature: float = 0.6
    top_p: float = 1.0
    seed: int | None = None
    execution_timeout_s: float | None = None
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        for name in (
            "max_rounds",
            "max_prompts",
            "max_plan_tokens",
            "max_execution_tokens",
            "max_tokens",
            "max_concurrency",
        ):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("execution_timeout_s", "time_limit_s"):
            _check(name, getattr(self, name), (getattr(self, name) or 1) > 0, "a positive number of seconds")
        _check("temperature", self.temperature, self.temperature >= 0, "0 or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")


def _check(name: str, value: object, ok: bool, expected: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {value}, expected {expected}", field=name)
