"""The report's figures, as SVG text. It knows results and colours, not HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sprint.evals.bins import Bins
from sprint.evals.results import Result
from sprint.evals.stats import mean, quantile, wilson
from sprint.evals.summary import Summary
from sprint.page import inline_svg

COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be185d", "#4d7c0f")
INK, FAINT = "#1f2937", "#9ca3af"
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "svg.hashsalt": "sprint",
}


def accuracy_figure(runs: Sequence[Sequence[Result]], summaries: Sequence[Summary]) -> str:
    """Accuracy against pipelined sequential tokens: a point per run, its interval, the middle 80 % of problems."""
    with _drawing(7.2, 3.6) as (figure, (axes,)):
        for results, run, colour in zip(runs, summaries, COLOURS, strict=False):
            _accuracy_point(axes, results, run, colour)
        for guess in [run.guess for run in summaries if run.guess is not None][:1]:
            axes.axhline(100 * guess, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                "majority guess", (0.995, 100 * guess), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                xytext=(0, 2), textcoords="offset points", color="#6b7280", fontsize=8.5,
            )  # fmt: skip
        axes.set(xlabel="sequential tokens per problem (pipelined)", ylabel="accuracy, %", ylim=(0, 109))
        axes.set_yticks(range(0, 101, 20))
        axes.set_xlim(left=0)
        axes.legend(frameon=False, loc="center left", fontsize=9.5, labelspacing=0.9)
        return inline_svg(figure)


def _accuracy_point(axes: Any, results: Sequence[Result], run: Summary, colour: str) -> None:
    tokens = sorted(float(result.usage.pipelined_tokens) for result in results if result.usage)
    centre, height = run.counters["pipelined_tokens"] or 0.0, 100 * run.accuracy
    across = [[centre - min(centre, quantile(tokens, 0.1))], [max(centre, quantile(tokens, 0.9)) - centre]]
    low, high = 100 * run.accuracy_interval.low, 100 * run.accuracy_interval.high
    upright = [[height - min(low, height)], [max(high, height) - height]]
    text = f"{run.label}: {height:.1f} %, {centre:,.0f} tokens"
    axes.errorbar(centre, height, yerr=upright, xerr=across, fmt="o", color=colour, ms=8, capsize=3, lw=1.6, label=text)


def bins_figure(runs: Sequence[Sequence[Result]], labels: Sequence[str], bins: Bins) -> str:
    """Left: mean pipelined tokens by bin; right: accuracy by bin with its interval."""
    with _drawing(7.2, 3.2, panels=2) as (figure, (tokens, accuracy)):
        for place, (results, label) in enumerate(zip(runs, labels, strict=True)):
            _bars(tokens, accuracy, [_bin(results, bins, i) for i in range(len(bins.titles))], place, len(runs), label)
        counts = [len(_bin(runs[0], bins, i)) for i in range(len(bins.titles))]
        ticks = [f"{title}\n(n = {count})" for title, count in zip(bins.titles, counts, strict=True)]
        for axes in (tokens, accuracy):
            axes.set_xticks(range(len(ticks)), ticks, fontsize=8)
            axes.set_xlabel(bins.name, fontsize=8.5)
            axes.grid(axis="x", visible=False)
        tokens.set_ylabel("sequential tokens (pipelined)")
        accuracy.set(ylabel="accuracy, %", ylim=(0, 105))
        tokens.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(runs))
        return inline_svg(figure)


def _bin(results: Sequence[Result], bins: Bins, index: int) -> list[Result]:
    return [result for result in results if bins.index(result.id) == index]


def _bars(tokens: Any, accuracy: Any, binned: list[list[Result]], place: int, runs: int, label: str) -> None:
    width = 0.8 / runs
    colour = COLOURS[place % len(COLOURS)]
    at = [index + (place - (runs - 1) / 2) * width for index in range(len(binned))]
    means = [mean([float(r.usage.pipelined_tokens) for r in results if r.usage]) or 0.0 for results in binned]
    tokens.bar(at, means, width * 0.92, color=colour, label=label)
    right = [sum(result.is_correct for result in results) for results in binned]
    shares = [100 * count / max(len(results), 1) for count, results in zip(right, binned, strict=True)]
    ranges = [wilson(count, len(results)) for count, results in zip(right, binned, strict=True)]
    down = [max(0.0, share - 100 * around.low) for share, around in zip(shares, ranges, strict=True)]
    up = [max(0.0, 100 * around.high - share) for share, around in zip(shares, ranges, strict=True)]
    accuracy.errorbar(at, shares, yerr=[down, up], fmt="o", color=colour, ms=6, capsize=3, lw=1.4)


class _drawing:  # noqa: N801  (used as a function)
    """A figure with `panels` axes beside each other, in the house style, closed afterwards."""

    def __init__(self, width: float, height: float, panels: int = 1) -> None:
        self.size, self.panels = (width, height), panels

    def __enter__(self) -> tuple[Any, list[Any]]:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        self.style = plt.rc_context(_STYLE)
        self.style.__enter__()
        self.figure, axes = plt.subplots(1, self.panels, figsize=self.size, layout="constrained", squeeze=False)
        return self.figure, list(axes[0])

    def __exit__(self, *problem: Any) -> None:
        from matplotlib import pyplot as plt

        plt.close(self.figure)
        self.style.__exit__(*problem)
