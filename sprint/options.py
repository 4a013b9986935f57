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


class View(StrEnum):
    """What an executor is shown of its plan."""

    PREFIX = "prefix"  # the planner's own tokens up to the end of its prompt: served from the prefix cache
    WHOLE_PLAN = "whole_plan"  # the whole plan, its prompt first and alone of those before (the authors' checkpoint)


class Gate(StrEnum):
    """What decides, in mode `auto`, whether a question that a model would answer in rounds is worth it."""

    NONE = "none"  # always as the model was taught
    FIRST_PLAN = "first_plan"  # the model's own first plan: without prompts, the rest is written in one breath


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits and sampling of one rollout. Defaults follow the paper (A.1): 12 rounds, 8,000 tokens a call, T = 0.6.

    max_prompts          prompts of one round that are executed; the rest are marked and joined as skipped
    max_plan_tokens      most tokens of one planner turn
    max_execution_tokens most tokens of one execution
    max_tokens           most tokens sampled in the whole rollout; executions that run side by side share what is left,
                         and all are ended when it is used up (so where it binds, the result depends on who was faster)
    max_concurrency      executions of this rollout that run at once
    execution_timeout_s  time limit of one execution; None: no limit
    time_limit_s         time limit of the rollout; None: no limit
    seed                 with it, each call gets a seed of its own derived from round, prompt number and attempt
    priority             of the request among others, where the engine schedules by priority; lower is served first
    view                 what executors see; `whole_plan` only exists once the plan does, so it implies `barrier`
    gate                 when mode `auto` leaves the rounds
    carry_on             the execution of a plan with one prompt goes on in the planner's own sequence, as training
                         layout `flat` teaches it: the next plan then reads nothing again, but the first prompt of every
                         plan waits until a second one opens or the plan ends (measured: LOG.md)
    repetition_tokens    a call that repeats a cycle of at most 64 tokens over so many tokens is ended; None: never

    Against stragglers, all off by default, each counted in the usage:
    quorum               go on when this share of a round's executions is in (0 to 1); the rest are cancelled and marked
    hedge_after_s        an execution that takes longer is asked for once more, elsewhere; the first answer counts

    Of the authors' loop, off by default, each counted in the usage:
    attempts             how often a call may be made whose text is longer than its gate
    plan_gate_tokens, execution_gate_tokens   longest text that is taken before the last attempt; None: any
    rollouts             how often a question may be worked on that ends without a boxed answer

    count_as_published   also count as the authors' code does, which encodes the whole text once more
    """

    mode: Mode = Mode.AUTO
    dispatch: Dispatch = Dispatch.PIPELINED
    view: View = View.PREFIX
    gate: Gate = Gate.NONE
    carry_on: bool = False
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
    priority: int = 0
    repetition_tokens: int | None = 1024
    quorum: float | None = None
    hedge_after_s: float | None = None
    attempts: int = 1
    plan_gate_tokens: int | None = None
    execution_gate_tokens: int | None = None
    rollouts: int = 1
    count_as_published: bool = False

    def __post_init__(self) -> None:
        for name in (
            "max_rounds",
            "max_prompts",
            "max_plan_tokens",
            "max_execution_tokens",
            "max_tokens",
            "max_concurrency",
            "attempts",
            "rollouts",
        ):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("plan_gate_tokens", "execution_gate_tokens", "repetition_tokens"):
            value = getattr(self, name)
            _check(name, value, value is None or value >= 1, "at least 1")
        for name in ("execution_timeout_s", "time_limit_s", "hedge_after_s"):
            value = getattr(self, name)
            _check(name, value, value is None or value > 0, "a positive number of seconds")
        if self.carry_on and self.view is View.WHOLE_PLAN:
            raise ConfigError("carry_on goes with view 'prefix', and view is 'whole_plan'", field="carry_on")
        _check("quorum", self.quorum, self.quorum is None or 0 < self.quorum <= 1, "above 0 and at most 1")
        _check("temperature", self.temperature, self.temperature >= 0, "0 or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")

    @property
    def starts_early(self) -> bool:
        """Whether executors start while the planner still writes."""
        return self.dispatch is Dispatch.PIPELINED and self.view is View.PREFIX


def _check(name: str, value: object, ok: bool, expected: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {value}, expected {expected}", field=name)
