"""How rollouts use their rounds: prompts per round by level (the paper's Fig. 5), and stragglers.

Read from the text that was written, so it holds for any run whose reasoning carries the protocol's tags, however it was
made. It knows tags and results, and no drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from sprint.evals.bins import in_order
from sprint.evals.bootstrap import mean_interval, mean_of_means, ratio_interval
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import Interval, quantile
from sprint.tags import Tag, TagKind, Text, lex

_WAITS = ("waiting_s", "wall_s")


@dataclass(frozen=True, slots=True)
class Shape:
    """One rollout's rounds: the prompts of each, and the characters of each execution of each."""

    prompts: tuple[int, ...]
    lengths: tuple[tuple[int, ...], ...]


def shape(reasoning: str) -> Shape:
    """The shape of a written trajectory, as far as it got. Text without plans has no rounds."""
    prompts: dict[int, int] = {}
    lengths: dict[int, list[int]] = {}
    inside = False
    for piece in lex(reasoning):
        if isinstance(piece, Text):
            if inside and lengths:
                lengths[max(lengths)][-1] += len(piece.text)
        elif piece.kind is TagKind.PLAN and not piece.closing:
            prompts.setdefault(piece.round, 0)
        elif piece.kind is TagKind.PROMPT and piece.closing and piece.round in prompts:
            prompts[piece.round] += 1
        elif piece.kind is TagKind.EXECUTION:
            inside = _executing(piece, prompts, lengths)
    rounds = sorted(prompts)
    return Shape(tuple(prompts[i] for i in rounds), tuple(tuple(lengths.get(i, ())) for i in rounds))


def _executing(tag: Tag, prompts: dict[int, int], lengths: dict[int, list[int]]) -> bool:
    """Whether an execution's text follows its tag; an opening one begins a new length."""
    opens = not tag.closing and tag.round in prompts and tag.round >= max(lengths, default=0)
    if opens:
        lengths.setdefault(tag.round, []).append(0)
    return opens


@dataclass(frozen=True, slots=True)
class Pattern:
    """How the rollouts of one run use their rounds, by level; the levels are in order, ("",) where there are none.

    For each level and each round (from the first): how many rollouts reached it, how many of those had several prompts
    there, and how many prompts they had in all.
    """

    label: str
    num_problems: int
    levels: tuple[str, ...]
    num_rollouts: tuple[int, ...]
    reached: tuple[tuple[int, ...], ...]
    several: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...]


def pattern(results: Sequence[Result]) -> Pattern | None:
    """The pattern of a run; None where no rollout has rounds."""
    shapes = [(result.level, shape(result.reasoning).prompts) for result in results if result.usage]
    deepest = max((len(prompts) for _, prompts in shapes), default=0)
    if not deepest:
        return None
    levels = in_order(level for level, _ in shapes)
    by_level = [[prompts for level, prompts in shapes if level == wanted] for wanted in levels]
    at = [[[prompts[i] for prompts in group if len(prompts) > i] for i in range(deepest)] for group in by_level]
    return Pattern(
        results[0].label,
        len({result.id for result in results if result.usage}),
        tuple(levels),
        tuple(map(len, by_level)),
        tuple(tuple(map(len, rounds)) for rounds in at),
        tuple(tuple(sum(count > 1 for count in counts) for counts in rounds) for rounds in at),
        tuple(tuple(map(sum, rounds)) for rounds in at),
    )


@dataclass(frozen=True, slots=True)
class Stragglers:
    """How much longer the longest execution of a round is than the mean of the round; rounds of several only.

    ratios        for each such round, longest / mean, ascending; 1: all equally long
    unit          what length is measured in
    mean          over problems of the mean of their rounds, with its bootstrap interval
    waiting       of the wall clock, the share during which the planner had nothing to do but wait; None where the
                  server does not say
    """

    label: str
    unit: str
    num_problems: int
    ratios: tuple[float, ...]
    mean: float
    mean_interval: Interval
    median: float
    high: float
    waiting: float | None
    waiting_interval: Interval | None


def stragglers(results: Sequence[Result]) -> Stragglers | None:
    """The stragglers of a run; None where no round has several executions.

    Lengths are tokens where every rollout with executions has a timeline, else characters of the text.
    """
    answered = [result for result in results if result.usage]
    unit, lengths = _lengths(answered)
    problems: dict[str, list[float]] = {}
    for id, rounds in lengths:
        found = [max(round) / fmean(round) for round in rounds if len(round) > 1 and any(round)]
        problems.setdefault(id, []).extend(found)
    groups = [group for group in problems.values() if group]
    if not groups:
        return None
    ratios = tuple(sorted(ratio for group in groups for ratio in group))
    waiting, interval = _waiting(answered)
    return Stragglers(
        label=results[0].label,
        unit=unit,
        num_problems=len(groups),
        ratios=ratios,
        mean=mean_of_means(groups),
        mean_interval=mean_interval(groups),
        median=median(ratios),
        high=quantile(ratios, 0.9),
        waiting=waiting,
        waiting_interval=interval,
    )


def _lengths(answered: Sequence[Result]) -> tuple[str, list[tuple[str, list[tuple[int, ...]]]]]:
    """The unit, and of each rollout the problem and the lengths of each round's executions."""
    wide = [result for result in answered if result.usage and result.usage.num_executions]
    if wide and all(result.timeline for result in wide):
        return "tokens", [(result.id, _timed(result)) for result in wide]
    return "characters", [(result.id, list(shape(result.reasoning).lengths)) for result in answered]


def _timed(result: Result) -> list[tuple[int, ...]]:
    rounds: dict[int, list[int]] = {}
    for span in result.timeline:
        if span.get("kind") == "execution":
            rounds.setdefault(int(span["round"]), []).append(int(span["generated_tokens"]))
    return [tuple(lengths) for lengths in rounds.values()]


def _waiting(answered: Sequence[Result]) -> tuple[float | None, Interval | None]:
    timed = by_problem(result for result in answered if result.usage and result.usage.wall_s)
    waited, wall = ([[getattr(r.usage, name) for r in group] for group in timed.values()] for name in _WAITS)
    if not any(r.usage.executing_s for group in timed.values() for r in group if r.usage):
        return None, None
    return mean_of_means(waited) / mean_of_means(wall), ratio_interval(waited, wall)
