"""The books of one rollout of the engine benchmark: where its seconds went, and which prompt tokens were reused.

It knows recorded calls only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arms import Run
from benchmarks.forced import Call, Log
from benchmarks.trajectories import Ids


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prompt tokens over all calls of a rollout.

    reusable         of each prompt, those that an earlier call had computed when this one was made; its last token is
                     always computed
    reusable_blocks  the same in whole blocks of the cache: the most that an engine can reuse
    """

    prompt: int
    cached: int
    reusable: int
    reusable_blocks: int
    sampled: int

    @property
    def prefilled(self) -> int:
        return self.prompt - self.cached


def tokens(log: Log, block_tokens: int) -> Tokens:
    reusable = [_reusable(call, log.calls[:index]) for index, call in enumerate(log.calls)]
    return Tokens(
        sum(len(call.prompt_ids) for call in log.calls),
        sum(call.cached for call in log.calls),
        sum(reusable),
        sum(count // block_tokens * block_tokens for count in reusable),
        sum(call.sampled for call in log.calls),
    )


def _reusable(call: Call, before: Sequence[Call]) -> int:
    known = (
        _common(call.prompt_ids, other.prompt_ids + other.said[:count])
        for other, count in zip(before, call.earlier, strict=True)
        if other.cache == call.cache
    )
    return min(max(known, default=0), len(call.prompt_ids) - 1)


def _common(one: Ids, other: Ids) -> int:
    """Length of the common prefix, by halving: comparing slices is far quicker than comparing ids one by one."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True)
class Seconds:
    """A rollout's wall time, each moment on one account: the first of these that was true of it.

    planning   the planner was writing (a plan, the final answer, or a sequential answer)
    executing  an executor was writing
    prefill    a call was waiting for its first token
    waiting    no call was on the engine: the loop's own time
    """

    planning: float
    executing: float
    prefill: float
    waiting: float


def seconds(run: Run) -> Seconds:
    writing = [(call.first_s, call.end_s) for call in run.log.calls if call.part != "execution"]
    executing = [(call.first_s, call.end_s) for call in run.log.calls if call.part == "execution"]
    prefill = [(call.submitted_s, call.first_s) for call in run.log.calls]
    covered = [_covered(spans) for spans in (writing, writing + executing, writing + executing + prefill)]
    return Seconds(covered[0], covered[1] - covered[0], covered[2] - covered[1], run.wall_s - covered[2])


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds in at least one of the spans."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
