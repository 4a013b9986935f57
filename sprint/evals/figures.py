"""The report's figures, as SVG text. It knows what was found and how to draw it, not HTML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from sprint.evals.drawing import COLOURS, FAINT, GREY, INK, RAMP, drawing
from sprint.evals.pareto import Point
from sprint.evals.pattern import Pattern, Stragglers
from sprint.evals.savings import Savings
from sprint.page import inline_svg

_MOST_RATIO = 4.0  # stragglers beyond are not drawn


def pareto_figure(points: Sequence[Point], cost: str, guess: float | None = None) -> str:
    """Accuracy in % against `cost`, a point with both intervals for each run; a line through those on the frontier."""
    with drawing(7.2, 3.6) as (figure, (axes,)):
        for point, colour in zip(points, COLOURS * len(points), strict=False):
            _point(axes, point, colour)
        best = sorted((point.cost.value, 100 * point.accuracy) for point in points if point.on_frontier)
        axes.step(*zip(*best, strict=True), where="post", color=FAINT, lw=1.2, zorder=1, label="nothing better on both")
        if guess is not None:
            axes.axhline(100 * guess, color=FAINT, linestyle=(0, (4, 3)), linewidth=1, label="majority guess")
        axes.set(xlabel=cost, ylabel="accuracy, %", ylim=(0, 109))
        axes.set_yticks(range(0, 101, 20))
        axes.set_xlim(left=0)
        figure.legend(loc="outside lower left", frameon=False, fontsize=9, ncols=2)
        return inline_svg(figure)


def _point(axes: Any, point: Point, colour: str) -> None:
    x, y = point.cost.value, 100 * point.accuracy
    low, high = 100 * point.interval.low, 100 * point.interval.high
    upright = [[max(0.0, y - low)], [max(0.0, high - y)]]
    across = [[max(0.0, x - point.cost.interval.low)], [max(0.0, point.cost.interval.high - x)]]
    text = f"{point.label} (n = {point.num_problems})"
    axes.errorbar(x, y, yerr=upright, xerr=across, fmt="o", color=colour, ms=7, capsize=3, lw=1.6, label=text, zorder=3)


def savings_figure(choices: Sequence[Savings], titles: Sequence[str]) -> str:
    """For each choice of bins a panel: what the run saves of the baseline's sequential tokens, in %, bin by bin."""
    with drawing(7.2 if len(choices) < 3 else 9.2, 3.3, panels=len(choices), share_y=True) as (figure, panels):
        for axes, one, title in zip(panels, choices, titles, strict=True):
            _bars(axes, one, COLOURS[0] if one.bins.source.is_independent else FAINT)
            axes.set_title(title, loc="left")
            axes.set_xlabel(one.bins.name, fontsize=8.5)
        panels[0].set_ylabel("sequential tokens saved, %")
        return inline_svg(figure)


def _bars(axes: Any, one: Savings, colour: str) -> None:
    shown = [(place, row.ratio) for place, row in enumerate(one.rows) if row.ratio]
    heights = [100 * (1 - ratio.value) for _, ratio in shown]
    down = [max(0.0, 100 * (ratio.interval.high - ratio.value)) for _, ratio in shown]
    up = [max(0.0, 100 * (ratio.value - ratio.interval.low)) for _, ratio in shown]
    at = [place for place, _ in shown]
    axes.bar(at, heights, 0.66, color=colour)
    axes.errorbar(at, heights, yerr=[down, up], fmt="none", ecolor=INK, capsize=3, lw=1.2)
    axes.axhline(0, color=GREY, lw=0.8)
    ticks = [row.title.replace("–", "–\n") + f"\nn = {row.num_answered}" for row in one.rows]
    axes.set_xticks(range(len(ticks)), ticks, fontsize=7.5)
    axes.grid(axis="x", visible=False)


def pattern_figure(pattern: Pattern) -> str:
    """Left: rollouts that reach each round; right: of those, the ones with several prompts there. Stacked by level."""
    with drawing(7.2, 3.1, panels=2, share_y=True) as (figure, panels):
        titles = ("rollouts that reach the round", "of those, with several prompts in it")
        for axes, counts, title in zip(panels, (pattern.reached, pattern.several), titles, strict=True):
            _stack(axes, counts, pattern.levels)
            axes.set_title(title, loc="left")
            axes.set_xlabel("round")
            axes.grid(axis="x", visible=False)
        panels[0].set_ylabel("rollouts")
        if any(pattern.levels):
            panels[1].legend(frameon=False, fontsize=8.5, title="level", title_fontsize=8.5)
        return inline_svg(figure)


def _stack(axes: Any, counts: Sequence[Sequence[int]], levels: Sequence[str]) -> None:
    below = [0] * len(counts[0])
    rounds = range(1, len(below) + 1)
    for place, (level, row) in enumerate(zip(levels, counts, strict=True)):
        colour = RAMP[place % len(RAMP)] if len(levels) > 1 else COLOURS[0]
        axes.bar(rounds, row, 0.72, bottom=below, color=colour, label=level or "no level")
        below = [low + count for low, count in zip(below, row, strict=True)]
    axes.set_xticks(list(rounds) if len(below) <= 15 else list(rounds)[::5])


def stragglers_figure(runs: Sequence[Stragglers], colours: Sequence[str]) -> str:
    """The share of rounds whose longest execution is at most x times the mean of the round; a line for each run."""
    end = min(max(1.1, *(one.ratios[-1] for one in runs)), _MOST_RATIO)
    with drawing(7.2, 2.9) as (figure, (axes,)):
        for one, colour in zip(runs, colours, strict=True):
            shares = [100 * count / len(one.ratios) for count in accumulate(1 for _ in one.ratios)]
            text = f"{one.label} (n = {len(one.ratios)} rounds)"
            places, heights = [1.0, *one.ratios, max(end, one.ratios[-1])], [0.0, *shares, 100.0]
            axes.step(places, heights, where="post", color=colour, lw=1.6, label=text)
        axes.set(xlim=(1, end), ylim=(0, 102), ylabel="rounds, %")
        axes.set_xlabel("longest execution / mean execution of the round")
        axes.legend(frameon=False, loc="lower right", fontsize=9)
        return inline_svg(figure)
