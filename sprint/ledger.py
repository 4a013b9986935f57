"""The books of one rollout: every call on the clock, every token on its account. Knows no text and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
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
    inexact_tokens: int = 0

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
    """Collects a rollout's calls, rounds and runtime tokens, and sums them up.

    discarded_tokens   sampled and thrown away: resampled, hedged, left out, or of a rollout that was begun again
    path_tokens        of those, what the planner wrote: the rollout waited for it
    """

    clock: Clock = time.perf_counter
    calls: list[CallRecord] = field(default_factory=list)
    rounds: list[RoundCounts] = field(default_factory=list)
    final_tokens: int = 0
    runtime_tokens: int = 0
    join_prefill_tokens: int = 0
    discarded_tokens: int = 0
    path_tokens: int = 0
    num_retries: int = 0
    num_hedges: int = 0
    generated_tokens: int = 0
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def now_s(self) -> float:
        return self.clock() - self.started

    def open_call(self, part: Part, round: int, number: int, prompt_tokens: int) -> CallRecord:
        call = CallRecord(part, round, number, prompt_tokens, self.now_s)
        self.calls.append(call)
        return call

    def sampled(self, call: CallRecord, count: int, cached_tokens: int | None, *, exact: bool = True) -> None:
        """`count` more tokens came out of `call`."""
        self.generated_tokens += count
        call.inexact_tokens += 0 if exact else count
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
        generated, wasted = self.generated_tokens, self.path_tokens
        clocks = Clocks.of(self.calls)
        paper, pipelined, barrier = (
            (generated, generated, generated)
            if sequential
            else (
                paper_sequential_tokens(self.rounds),
                pipelined_tokens(self.rounds, self.final_tokens) + wasted,
                barrier_tokens(self.rounds, self.final_tokens) + wasted,
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
            discarded_tokens=self.discarded_tokens,
            inexact_tokens=sum(call.inexact_tokens for call in self.calls),
            num_retries=self.num_retries,
            num_hedges=self.num_hedges,
            num_rounds=len(self.rounds),
            num_executions=sum(call.part is Part.EXECUTION for call in self.calls),
            num_calls=len(self.calls),
            wall_s=self.now_s,
            planning_s=clocks.planning_s,
            executing_s=clocks.executing_s,
            waiting_s=clocks.waiting_s,
            prefill_s=clocks.prefill_s,
            time_to_first_token_s=self.calls[0].first_token_s if self.calls else None,
        )

    def _cached_tokens(self) -> int | None:
        """None as soon as one call that sampled anything does not know."""
        known = [call.cached_tokens for call in self.calls if call.generated_tokens]
        counts = [count for count in known if count is not None]
        return sum(counts) if len(counts) == len(known) else None


# --- where the seconds go --------------------------------------------------------------------------------------------

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Clocks:
    """A rollout's seconds, split (DESIGN §4). `waiting_s` is part of `executing_s`, `prefill_s` of `planning_s`."""

    planning_s: float
    executing_s: float
    waiting_s: float
    prefill_s: float

    @staticmethod
    def of(calls: Sequence[CallRecord]) -> Clocks:
        """The split of these calls' time."""
        planner = [call for call in calls if call.part is not Part.EXECUTION]
        planning = merged((call.start_s, call.end_s) for call in planner)
        executing = merged((call.start_s, call.end_s) for call in calls if call.part is Part.EXECUTION)
        both = merged([*planning, *executing])
        prefill = sum(call.first_token_s - call.start_s for call in planner if call.first_token_s is not None)
        return Clocks(_length(planning), _length(executing), _length(both) - _length(planning), prefill)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch made one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)
