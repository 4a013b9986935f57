"""The books of one rollout: every call on the clock, every token on its account. Knows no text and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sprint.events import Part
from sprint.types import TimelineSpan
from sprint.usage import (
    RoundCounts,
    Usage,
    barrier_tokens,
    paper_sequential_tokens,
    pipelined_tokens,
)

Clock = Callable[[], float]


@dataclass
class CallRecord:
    """One call while it runs. Seconds since the rollout began."""

    part: Part
    round: int
    number: int
    prompt_tokens: int
    start_s: float
    first_token_s: float | None = None
    end_s: float = 0.0
    generated_tokens: int = 0
    cached_tokens: int | None = None
    outcome: str = ""

    def span(self) -> TimelineSpan:
        return TimelineSpan(
            self.part,
            self.round,
            self.number,
            self.start_s,
            self.first_token_s,
            self.end_s,
            self.generated_tokens,
            self.prompt_tokens,
            self.cached_tokens,
            self.outcome,
        )


@dataclass
class Ledger:
    """Collects a rollout's calls, rounds and runtime tokens, and sums them up."""

    clock: Clock = time.perf_counter
    calls: list[CallRecord] = field(default_factory=list)
    rounds: list[RoundCounts] = field(default_factory=list)
    final_tokens: int = 0
    runtime_tokens: int = 0
    join_prefill_tokens: int = 0
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def now_s(self) -> float:
        return self.clock() - self.started

    @property
    def generated_tokens(self) -> int:
        return sum(call.generated_tokens for call in self.calls)

    def open_call(self, part: Part, round: int, number: int, prompt_tokens: int) -> CallRecord:
        call = CallRecord(part, round, number, prompt_tokens, self.now_s)
        self.calls.append(call)
        return call

    def sampled(self, call: CallRecord, count: int, cached_tokens: int | None) -> None:
        """`count` more tokens came out of `call`."""
        if call.first_token_s is None:
            call.first_token_s = self.now_s
        call.generated_tokens += count
        call.cached_tokens = cached_tokens
        call.end_s = self.now_s

    def close_call(self, call: CallRecord, outcome: str) -> None:
        call.end_s, call.outcome = self.now_s, outcome

    def timeline(self) -> tuple[TimelineSpan, ...]:
        return tuple(call.span() for call in self.calls)

    def usage(self, code_sequential_tokens: int | None, *, sequential: bool) -> Usage:
        """Everything summed up, now."""
        generated = self.generated_tokens
        paper, pipelined, barrier = (
            (generated, generated, generated)
            if sequential
            else (
                paper_sequential_tokens(self.rounds),
                pipelined_tokens(self.rounds, self.final_tokens),
                barrier_tokens(self.rounds, self.final_tokens),
            )
        )
        return Usage(
            paper_sequential_tokens=paper,
            code_sequential_tokens=code_sequential_tokens,
            pipelined_tokens=pipelined,
            barrier_tokens=barrier,
            generated_tokens=generated,
            runtime_tokens=self.runtime_tokens,
            prompt_tokens=sum(call.prompt_tokens for call in self.calls),
            cached_prompt_tokens=self._cached_tokens(),
            join_prefill_tokens=self.join_prefill_tokens,
            num_rounds=len(self.rounds),
            num_executions=sum(call.part is Part.EXECUTION for call in self.calls),
            num_calls=len(self.calls),
            wall_s=self.now_s,
            time_to_first_token_s=self.calls[0].first_token_s if self.calls else None,
        )

    def _cached_tokens(self) -> int | None:
        """None as soon as one call that sampled anything does not know."""
        known = [call.cached_tokens for call in self.calls if call.generated_tokens]
        counts = [count for count in known if count is not None]
        return sum(counts) if len(counts) == len(known) else None
