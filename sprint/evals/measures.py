"""The measures of a result: their names, how they are read from it, and what they mean in words.

The one place that knows which clock a result belongs to and that a value that was not reported is None, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sprint.evals.results import Result


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure as a reader sees it."""

    name: str
    meaning: str
    group: str


PATH, ALL, CALLS, CLOCKS = "Tokens on the critical path", "Tokens in all", "Calls", "Clocks"
MEASURES = {
    "pipelined_tokens": Measure(
        "pipelined", "what this engine waits for: executors start mid-plan; tags counted", PATH
    ),
    "barrier_tokens": Measure("barrier", "the same, were executors to start only after the whole plan", PATH),
    "paper_sequential_tokens": Measure(
        "paper formula",
        "as it reads: plan up to a prompt plus its execution, the longest of each round; no final answer",
        PATH,
    ),
    "code_sequential_tokens": Measure(
        "authors' code", "as their code counts: no tags, with plan tails and final answer", PATH
    ),
    "generated_tokens": Measure("generated", "everything the model sampled", ALL),
    "runtime_tokens": Measure("written by the runtime", "tags that the model never samples", ALL),
    "discarded_tokens": Measure("thrown away", "of the generated ones: sampled again, hedged, left out", ALL),
    "prompt_tokens": Measure("prompt", "sent to the engine over all calls", ALL),
    "cached_prompt_tokens": Measure("prompt, cached", "of those, served from the engine's prefix cache", ALL),
    "computed_prompt_tokens": Measure("prompt, computed", "of those, those the engine had to read: prefill", ALL),
    "join_prefill_tokens": Measure("read again at joins", "executor output that the planner reads", ALL),
    "num_rounds": Measure("rounds", "rounds of a plan and its executions", CALLS),
    "num_executions": Measure("executions", "tasks run beside each other", CALLS),
    "num_calls": Measure("engine calls", "calls to the engine", CALLS),
    "wall_alone_s": Measure("wall seconds, alone", "the client's clock, one request at a time", CLOCKS),
    "wall_s": Measure(
        "wall seconds, busy", "the client's clock, while all requests in flight share the machine", CLOCKS
    ),
    "time_to_first_token_s": Measure("seconds to first token", "the server's clock", CLOCKS),
    "planning_s": Measure("seconds planning", "some call of the planner was being sampled", CLOCKS),
    "executing_s": Measure("seconds executing", "some execution was being sampled", CLOCKS),
    "waiting_s": Measure("seconds waiting", "of those executing, with nothing for the planner to do", CLOCKS),
    "prefill_s": Measure("seconds until a plan begins", "of those planning, before each call's first token", CLOCKS),
}
_OF_CALLS = ("prompt_tokens", "num_calls", "runtime_tokens")
WALLS = ("wall_alone_s", "wall_s")
COMPARED = (
    "pipelined_tokens",
    "barrier_tokens",
    "paper_sequential_tokens",
    "code_sequential_tokens",
    "generated_tokens",
    "computed_prompt_tokens",
    *WALLS,
)


def value(result: Result, name: str) -> float | None:
    """A measure of an answered result; None where it was not reported or not measured."""
    usage = result.usage
    if usage is None:
        return None
    if name in WALLS:
        alone = result.concurrency == 1
        return result.wall_s if result.wall_s > 0 and alone == (name == "wall_alone_s") else None
    if name in _OF_CALLS and not (usage.num_calls or usage.prompt_tokens):
        return None  # of an imported text nobody knows the calls
    if name == "computed_prompt_tokens":
        cached = usage.cached_prompt_tokens
        return None if cached is None else float(usage.prompt_tokens - cached)
    found: float | None = getattr(usage, name)
    return found


def values(groups: Sequence[Sequence[Result]], name: str) -> list[list[float]] | None:
    """For each problem, the measure of each of its answered samples; None where it is missing for any of them.

    A clock is of some of the problems by design: there, a sample that it was not on for is left out. Only groups with
    an answered sample may be given.
    """
    found = [[value(result, name) for result in group if result.usage] for group in groups]
    if name not in WALLS and any(one is None for group in found for one in group):
        return None
    return [[one for one in group if one is not None] for group in found]


def average(groups: Sequence[Sequence[Result]], name: str) -> float | None:
    """The mean over problems of the mean over their answered samples; None where the measure is not known."""
    found = [group for group in values(groups, name) or () if group]
    return fmean(map(fmean, found)) if found else None
