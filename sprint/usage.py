"""Counting: what a rollout cost in tokens and on the clock, and what of it stands on the critical path.

"Sequential tokens" has several meanings (DESIGN §4); each has its own name here and nothing is called latency that is
not a clock. Records add up. This file knows neither text nor tags; `published` counts the authors' text files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sprint.errors import InputError

_MOST = 10**15  # of tokens, or seconds


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """Tokens of one round.

    plan_tokens        the whole plan
    prefix_tokens      for each prompt k, the plan's tokens up to the end of prompt k
    execution_tokens   for each prompt k, the tokens of its execution
    start_tokens       for each prompt k, the plan's tokens when its execution began; (): when its prompt had ended
    """

    plan_tokens: int
    prefix_tokens: tuple[int, ...] = ()
    execution_tokens: tuple[int, ...] = ()
    start_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.prefix_tokens) == len(self.execution_tokens), "an execution without its prompt"
        assert all(prefix <= self.plan_tokens for prefix in self.prefix_tokens), "a prompt that ends after its plan"

    @property
    def longest_path(self) -> int:
        """max_k (plan up to prompt k + execution k); 0 without prompts."""
        return self._longest(self.prefix_tokens)

    @property
    def longest_wait(self) -> int:
        """The same from where each execution really began."""
        return self._longest(self.start_tokens or self.prefix_tokens)

    def _longest(self, starts: Sequence[int]) -> int:
        pairs = zip(starts, self.execution_tokens, strict=True)
        return max((start + execution for start, execution in pairs), default=0)


def paper_sequential_tokens(rounds: Sequence[RoundCounts]) -> int:
    """Σ max_k (P_ik + E_ik) over rounds with prompts, as the paper's formula reads (§4.1)."""
    return sum(counts.longest_path for counts in rounds)


def pipelined_tokens(rounds: Sequence[RoundCounts], final_tokens: int) -> int:
    """What an engine waits for that starts an executor as soon as its prompt closes."""
    return sum(max(counts.plan_tokens, counts.longest_wait) for counts in rounds) + final_tokens


def barrier_tokens(rounds: Sequence[RoundCounts], final_tokens: int) -> int:
    """What an engine waits for that lets the plan end before it starts the executors."""
    return sum(counts.plan_tokens + max(counts.execution_tokens, default=0) for counts in rounds) + final_tokens


def written_tokens(rounds: Sequence[RoundCounts], final_tokens: int) -> int:
    """Every token of the rounds and the final answer."""
    return sum(counts.plan_tokens + sum(counts.execution_tokens) for counts in rounds) + final_tokens


@dataclass(frozen=True, slots=True)
class Usage:
    """What a rollout, or a sum of rollouts, used.

    paper_sequential_tokens  the paper's formula; None for a method that it does not describe
    code_sequential_tokens   the formula of the authors' code: tags stripped, plan tails and final answer counted; None
                             where the text cannot be counted that way
    pipelined_tokens         the critical path when executors start mid-plan
    barrier_tokens           the critical path when executors wait for the whole plan
    generated_tokens         everything sampled, discarded tokens included
    runtime_tokens           tags written by the runtime, never sampled (in none of the counts above)
    prompt_tokens            sent to the engine over all calls
    cached_prompt_tokens     of those, served from its prefix cache; None when it does not report them (never 0)
    join_prefill_tokens      executor output read again by the planner; None where that is not counted
    discarded_tokens         of the generated ones, those thrown away: resampled, hedged, left out, begun again
    inexact_tokens           of the generated ones, those whose ids are a re-encoding of text (the server gave no ids)
    num_retries, num_hedges  calls made again because a text was too long or an answer missing; because one was slow
    wall_s, time_to_first_token_s   clocks
    planning_s, executing_s  time during which the planner, or any executor, was being sampled
    waiting_s                of executing_s, when the planner had nothing to do but wait
    prefill_s                of planning_s, until the first token of each of the planner's calls

    For a sequential rollout all four critical-path counts are the generated tokens.
    """

    paper_sequential_tokens: int | None = 0
    code_sequential_tokens: int | None = 0
    pipelined_tokens: int = 0
    barrier_tokens: int = 0
    generated_tokens: int = 0
    runtime_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int | None = 0
    join_prefill_tokens: int | None = 0
    discarded_tokens: int = 0
    inexact_tokens: int = 0
    num_retries: int = 0
    num_hedges: int = 0
    num_rounds: int = 0
    num_executions: int = 0
    num_calls: int = 0
    wall_s: float = 0.0
    planning_s: float = 0.0
    executing_s: float = 0.0
    waiting_s: float = 0.0
    prefill_s: float = 0.0
    time_to_first_token_s: float | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum; what either side does not know, the sum does not know. A time to first token has no sum."""
        mine, theirs = asdict(self), asdict(other)
        total: dict[str, Any] = {key: _plus(mine[key], theirs[key]) for key in mine}
        return Usage(**total | {"time_to_first_token_s": None})

    @property
    def prefix_hit_rate(self) -> float | None:
        """Share of the prompt tokens that came from the prefix cache."""
        if self.cached_prompt_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_prompt_tokens / self.prompt_tokens

    @staticmethod
    def sequential(generated: int, **known: Any) -> Usage:
        """Of a text written from end to end: every generated token is on the critical path. `known`: what else is."""
        paths = ("paper_sequential_tokens", "code_sequential_tokens", "pipelined_tokens", "barrier_tokens")
        return Usage(**dict.fromkeys((*paths, "generated_tokens"), generated) | known)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Usage:
        """A usage read back from JSON. Raises InputError on an unknown entry, or one that is no count and no clock."""
        if not isinstance(values, Mapping):
            raise InputError(f"usage is a {type(values).__name__}, expected an object")
        known = {field.name: "None" in str(field.type) for field in fields(Usage)}
        for key, value in values.items():
            if key not in known:
                raise InputError(f"usage has an unknown entry {key!r}", field=key)
            if not (_is_amount(value) or (value is None and known[key])):
                raise InputError(f"usage entry {key!r} is {str(value)[:40]!r}, expected a number", field=key)
        return Usage(**values)


def _is_amount(value: object) -> bool:
    """Whether it is a number that can be added up. Clocks are differences, and may be a rounding error below 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e-3 < value < _MOST


def _plus(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or theirs is None else mine + theirs
