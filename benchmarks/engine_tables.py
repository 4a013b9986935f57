"""The tables of the engine benchmark. They know its rows and nothing of how they were measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Row = dict[str, Any]
Value = Callable[[Row], float]


def wall(arm: str) -> Value:
    return lambda row: float(row["arms"][arm]["wall_s"])


def count(arm: str, name: str) -> Value:
    return lambda row: float(row["arms"][arm]["tokens"][name])


def prefilled(arm: str) -> Value:
    return lambda row: count(arm, "prompt")(row) - count(arm, "cached")(row)


def of_row(key: str) -> Value:
    return lambda row: float(row[key])


@dataclass(frozen=True, slots=True)
class Ratio:
    """One line of the table: `over` and `under` of each answer. `goal` as text; "" for none."""

    name: str
    over: Value
    under: Value
    goal: str = ""


def ratios(names: Sequence[str]) -> Iterator[Ratio]:
    """What can be said of these arms."""
    if "ours" not in names:
        return
    if "oracle" in names:
        yield Ratio("seconds ÷ oracle schedule", wall("ours"), wall("oracle"), "≤ 1.05")
    yield Ratio("seconds ÷ uncontended critical path", wall("ours"), of_row("critical_path_s"))
    if "theirs" in names:
        yield Ratio("seconds ÷ authors' loop shape", wall("ours"), wall("theirs"), "≤ 0.85")
        yield Ratio("critical path, pipelined ÷ barrier tokens", of_row("pipelined_tokens"), of_row("barrier_tokens"))
        yield Ratio("prompt tokens prefilled ÷ theirs, one cache", prefilled("ours"), prefilled("theirs"))
        yield Ratio("prompt tokens sent ÷ theirs", count("ours", "prompt"), count("theirs", "prompt"))
    apart = prefilled("theirs_apart")
    if "theirs_apart" in names:
        yield Ratio("prompt tokens prefilled ÷ theirs, two servers", prefilled("ours"), apart, "≤ 0.50")
    if "carried" in names:
        yield Ratio("carried: seconds ÷ ours", wall("carried"), wall("ours"))
        yield Ratio("carried: prompt tokens prefilled ÷ ours", prefilled("carried"), prefilled("ours"))
        if "theirs_apart" in names:
            yield Ratio("carried: prompt tokens prefilled ÷ theirs, two servers", prefilled("carried"), apart)
    yield Ratio("prefix hits ÷ reusable", count("ours", "cached"), count("ours", "reusable"), "≥ 0.95")
    yield Ratio("prefix hits ÷ whole reusable blocks", count("ours", "cached"), count("ours", "reusable_blocks"))
    yield Ratio("prefix hits ÷ prompt tokens", count("ours", "cached"), count("ours", "prompt"))
    if "sequential" in names:
        yield Ratio("seconds ÷ sequential", wall("ours"), wall("sequential"))
        yield Ratio("pipelined tokens ÷ sequential", of_row("pipelined_tokens"), count("sequential", "sampled"))


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    names = list(rows[0]["arms"])
    yield _ratio_table(rows, names)
    yield _seconds_table(rows, names)
    yield _hop_table(rows)


def _ratio_table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    title = f"ours, over {len(rows)} answers, {_mean(rows, 'pipelined_tokens'):.0f} tokens of critical path on average"
    table = Table("ratio", "median", "mean", "10–90 %", "of the sums", "goal", title=title)
    for ratio in ratios(names):
        values = [ratio.over(row) / ratio.under(row) for row in rows if ratio.under(row)]
        if not values:
            continue
        sums = sum(map(ratio.over, rows)) / sum(map(ratio.under, rows))
        low, high = _spread(values)
        shown = (statistics.median(values), statistics.fmean(values))
        table.add_row(ratio.name, *(f"{v:.3f}" for v in shown), f"{low:.3f} – {high:.3f}", f"{sums:.3f}", ratio.goal)
    return table


def _spread(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def _seconds_table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    accounts = ("planning", "executing", "prefill", "waiting")
    columns = ("wall", *accounts, "CPU outside the engine")
    table = Table("seconds of one answer, mean", *columns, title="where the time goes")
    for name in names:
        sums = [statistics.fmean(row["arms"][name]["s"][account] for row in rows) for account in accounts]
        whole = statistics.fmean(map(wall(name), rows))
        cpu = statistics.fmean(row["arms"][name]["cpu_s"] for row in rows)
        table.add_row(name, f"{whole:.3f}", *(f"{v:.3f} ({v / whole:.1%})" for v in (*sums, cpu)))
    path = _mean(rows, "critical_path_s")
    table.add_row("critical path, uncontended", f"{path:.3f}")
    return table


def _hop_table(rows: Sequence[Row]) -> Table:
    step = statistics.median(row["step_s"] for row in rows)
    hop = statistics.median(second for row in rows for second in row["hops_s"])
    table = Table("a lone sequence, median", "milliseconds", "decode steps", title="what a new request costs")
    table.add_row("one decode step", f"{step * 1e3:.2f}", "1.0")
    table.add_row("one token of a new request, context cached", f"{hop * 1e3:.2f}", f"{hop / step:.1f}")
    return table


def _mean(rows: Sequence[Row], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)
