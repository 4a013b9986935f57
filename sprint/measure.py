"""Measures a written trajectory: how much of it stands on the critical path, in whatever unit the caller counts.

The counts are those that an engine would report had it sampled the text (`sprint.usage`); tags are counted. It knows no
engine and no tokenizer, only a function from text to a length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sprint import render, tags, usage
from sprint.types import Round, Trajectory
from sprint.usage import RoundCounts

Count = Callable[[str], int]


def sequential_length(trajectory: Trajectory, count: Count = len) -> int:
    """What a pipelined engine waits for: Σ max(plan, max_k(plan up to prompt k + execution k)) + final answer."""
    rounds = [_counts(number, round, count) for number, round in enumerate(trajectory.rounds, 1)]
    return usage.pipelined_tokens(rounds, count(render.final_text(trajectory.final_answer)))


def _counts(number: int, round: Round, count: Count) -> RoundCounts:
    plan = render.plan_text(number, round.plan)
    total = count(plan)
    executions = (render.execution_text(number, k, execution.text) for k, execution in enumerate(round.executions, 1))
    prefixes = tuple(min(count(plan[:end]), total) for end in _prompt_ends(plan))
    return RoundCounts(total, prefixes, tuple(map(count, executions)))


def _prompt_ends(plan: str) -> Iterator[int]:
    """Where each prompt of a plan ends, in characters."""
    return (match.end() for match in tags.PROMPT_CLOSING.finditer(plan))
