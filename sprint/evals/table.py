"""The table of a comparison, for the terminal and for the page: which measures, in which order, in which words.

It knows summaries only. A value that was not reported reads "–", never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sprint.evals.comparison import Comparison, Estimate
from sprint.evals.measures import MEASURES
from sprint.evals.stats import Interval
from sprint.evals.summary import Summary
from sprint.printable import printable

NOT_REPORTED = "–"
_Column = tuple[str, list[str]]  # its head, and its cell of every line
_GAP = 2  # characters between two columns
_LOG_WIDTH = 120  # characters of a line where the output is no terminal
# Shown only where some run has them: most servers say nothing about these, or have nothing to say.
_OPTIONAL = ("discarded_tokens", "computed_prompt_tokens", "planning_s", "executing_s", "waiting_s", "prefill_s")


@dataclass(frozen=True, slots=True)
class Line:
    """One measure: its name, what it means, a cell per run, and per compared run the ratio to the baseline."""

    name: str
    meaning: str
    cells: tuple[str, ...]
    ratios: tuple[str, ...]
    group: str


def lines(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    """The whole table. There is one ratio column per comparison."""
    return [_accuracy(summaries, comparisons), *_guess(summaries, comparisons), *_counters(summaries, comparisons)]


def _accuracy(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> Line:
    cells = tuple(f"{percent(run.accuracy)} [{percent_range(run.accuracy_interval)}]" for run in summaries)
    ratios = tuple(p_value(comparison.p_value) for comparison in comparisons)
    tests = sorted({comparison.test for comparison in comparisons})
    test = f"; p: {', '.join(tests)} that both are right equally often" if tests else ""
    return Line("accuracy", f"right answers with Wilson's 95 % interval{test}", cells, ratios, "Answers")


def _guess(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    cells = tuple(NOT_REPORTED if run.guess is None else percent(run.guess) for run in summaries)
    known = any(run.guess is not None for run in summaries)
    meaning = "always saying the commonest answer of the training set"
    return [Line("majority guess", meaning, cells, ("",) * len(comparisons), "Answers")] if known else []


def _counters(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    found = []
    for key, measure in MEASURES.items():
        values = [run.counters[key] for run in summaries]
        if key in _OPTIONAL and not any(values):
            continue
        ratios = tuple(ratio(comparison.ratios.get(key)) for comparison in comparisons)
        found.append(Line(measure.name, measure.meaning, tuple(map(number, values)), ratios, measure.group))
        if key == "cached_prompt_tokens":
            rates = tuple(map(rate, (run.prefix_hit_rate for run in summaries)))
            meaning = "cached over all prompt tokens"
            found.append(Line("prefix hit rate", meaning, rates, ("",) * len(comparisons), measure.group))
    return found


# --- numbers in words ------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three or so digits that matter."""
    if value is None:
        return NOT_REPORTED
    if abs(value) >= 100 or value == int(value):
        return minus(f"{value:,.0f}")
    return minus(f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def rate(share: float | None) -> str:
    """A share that may not be known."""
    return NOT_REPORTED if share is None else percent(share)


def percent_range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"


def points(difference: float, interval: Interval) -> str:
    """A difference of shares in percentage points."""
    return minus(f"{100 * difference:+.1f} points [{100 * interval.low:+.1f} to {100 * interval.high:+.1f}]")


def saved(estimate: Estimate | None) -> str:
    """A ratio to the baseline as what it saves."""
    if estimate is None:
        return NOT_REPORTED
    low, high = 1 - estimate.interval.high, 1 - estimate.interval.low
    return minus(f"{100 * (1 - estimate.value):.1f} % [{100 * low:.1f} to {100 * high:.1f}]")


def difference(estimate: Estimate | None) -> str:
    """A difference of means with its interval."""
    if estimate is None:
        return NOT_REPORTED
    low, high = number(estimate.interval.low), number(estimate.interval.high)
    return f"{number(estimate.value)} [{low} to {high}]"


def ratio(estimate: Estimate | None) -> str:
    """A ratio of means with its interval; "" where there is none."""
    if estimate is None:
        return ""
    return f"× {estimate.value:.2f} [{estimate.interval.low:.2f}–{estimate.interval.high:.2f}]"


def p_value(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def minus(text: str) -> str:
    """A number with a minus sign instead of a hyphen."""
    return text.replace("-", "\u2212")


# --- the terminal ----------------------------------------------------------------------------------------------------


def print_table(summaries: Sequence[Summary], comparisons: Sequence[Comparison] = ()) -> None:
    """The table on the terminal, in as many parts as its width asks for."""
    from rich.console import Console

    console = Console(markup=False)  # a run may be called what it likes: nothing in its name is markup
    if not console.is_terminal:
        console = Console(markup=False, width=_LOG_WIDTH)
    all_lines = lines(summaries, comparisons)
    heads = [run.label for run in summaries] + [f"{one.label} / {one.baseline}" for one in comparisons]
    columns = [
        (printable(head), cells)
        for head, *cells in zip(heads, *([*line.cells, *line.ratios] for line in all_lines), strict=True)
    ]
    first, names = summaries[0], [line.name for line in all_lines]
    print(f"{printable(first.task)}, {first.num_problems} problems; means per problem")
    for part in _parts(columns, _width(names), console.width):
        _print_part(console, names, part)
    for run in summaries:
        if run.num_answered < run.num_samples:
            missing = run.num_samples - run.num_answered
            print(f"{printable(run.label)}: {missing} of {run.num_samples} samples were not answered")


def _parts(columns: Sequence[_Column], taken: int, width: int) -> list[list[_Column]]:
    """The columns, as many beside each other as there is room for beside the names."""
    parts: list[list[_Column]] = [[]]
    used = taken
    for head, cells in columns:
        own = _width([head, *cells]) + _GAP
        if parts[-1] and used + own > width:
            parts.append([])
            used = taken
        parts[-1].append((head, cells))
        used += own
    return parts


def _width(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def _print_part(console: Any, names: Sequence[str], columns: Sequence[_Column]) -> None:
    from rich.table import Table

    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    for head, _ in columns:
        table.add_column(head, justify="right")
    for place, name in enumerate(names):
        if any(row := [cells[place] for _, cells in columns]):
            table.add_row(name, *row)
    console.print(table)
