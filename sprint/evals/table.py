"""The table of a comparison, for the terminal and for the page: which measures, in which order, in which words.

It knows summaries only. A value that was not reported reads "–", never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.stats import Interval
from sprint.evals.summary import Comparison, Summary

NOT_REPORTED = "–"


@dataclass(frozen=True, slots=True)
class Line:
    """One measure: its name, what it means, a cell per run, and per compared run the ratio to the baseline."""

    name: str
    meaning: str
    cells: tuple[str, ...]
    ratios: tuple[str, ...]
    group: str


PATH, ALL, CALLS, CLOCKS = "Tokens on the critical path", "Tokens in all", "Calls", "Clocks"
# name of the counter: what the table calls it, what it means, the group it stands in
_MEASURES = {
    "pipelined_tokens": ("pipelined", "what this engine waits for: executors start mid-plan; tags counted", PATH),
    "barrier_tokens": ("barrier", "the same, were executors to start only after the whole plan", PATH),
    "paper_sequential_tokens": (
        "paper formula",
        "as it reads: plan up to a prompt plus its execution, the longest of each round; no final answer",
        PATH,
    ),
    "code_sequential_tokens": (
        "authors' code",
        "as their code counts: no tags, with plan tails and final answer",
        PATH,
    ),
    "generated_tokens": ("generated", "everything the model sampled", ALL),
    "runtime_tokens": ("written by the runtime", "tags that the model never samples", ALL),
    "prompt_tokens": ("prompt", "sent to the engine over all calls", ALL),
    "cached_prompt_tokens": ("prompt, cached", "of those, served from the engine's prefix cache", ALL),
    "join_prefill_tokens": ("read again at joins", "executor output that the planner reads", ALL),
    "num_rounds": ("rounds", "rounds of a plan and its executions", CALLS),
    "num_executions": ("executions", "tasks run beside each other", CALLS),
    "num_calls": ("engine calls", "calls to the engine", CALLS),
    "wall_alone_s": ("wall seconds, alone", "the client's clock, one request at a time", CLOCKS),
    "wall_s": ("wall seconds, busy", "the client's clock, while all requests in flight share the machine", CLOCKS),
    "time_to_first_token_s": ("seconds to first token", "the server's clock", CLOCKS),
}


def lines(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    """The whole table. There is one ratio column per comparison."""
    return [_accuracy(summaries, comparisons), *_guess(summaries, comparisons), *_counters(summaries, comparisons)]


def _accuracy(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> Line:
    cells = tuple(f"{percent(run.accuracy)} [{_range(run.accuracy_interval)}]" for run in summaries)
    ratios = tuple(f"p = {comparison.mcnemar_p:.2g}" for comparison in comparisons)
    meaning = "right answers with Wilson's 95 % interval; p: exact McNemar test that both are right equally often"
    return Line("accuracy", meaning, cells, ratios, "Answers")


def _guess(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    cells = tuple(NOT_REPORTED if run.guess is None else percent(run.guess) for run in summaries)
    known = any(run.guess is not None for run in summaries)
    meaning = "always saying the commonest answer of the training set"
    return [Line("majority guess", meaning, cells, ("",) * len(comparisons), "Answers")] if known else []


def _counters(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> list[Line]:
    found = []
    for key, (name, meaning, group) in _MEASURES.items():
        values = [getattr(run, key) if key in ("wall_s", "wall_alone_s") else run.counters[key] for run in summaries]
        ratios = tuple(_ratio(comparison, key) for comparison in comparisons)
        found.append(Line(name, meaning, tuple(number(value) for value in values), ratios, group))
        if key == "cached_prompt_tokens":
            rates = tuple(NOT_REPORTED if r.prefix_hit_rate is None else percent(r.prefix_hit_rate) for r in summaries)
            meaning = "cached over all prompt tokens"
            found.append(Line("prefix hit rate", meaning, rates, ("",) * len(comparisons), group))
    return found


def _ratio(comparison: Comparison, key: str) -> str:
    ratio = comparison.ratios.get(key)
    if ratio is None:
        return ""
    value, interval = ratio
    return f"× {value:.2f} [{interval.low:.2f}–{interval.high:.2f}]"


def number(value: float | None) -> str:
    """Three or so digits that matter."""
    if value is None:
        return NOT_REPORTED
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"


def print_table(summaries: Sequence[Summary], comparisons: Sequence[Comparison] = ()) -> None:
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    first = summaries[0]
    title = f"{first.task}, {first.num_samples} problems; means per problem"
    table = Table(title=title, title_justify="left", pad_edge=False, box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    for run in summaries:
        table.add_column(run.label, justify="right")
    for comparison in comparisons:
        table.add_column(f"{comparison.label} / {comparison.baseline}", justify="right")
    for line in lines(summaries, comparisons):
        table.add_row(line.name, *line.cells, *line.ratios)
    Console(soft_wrap=not Console().is_terminal).print(table)
    for run in summaries:
        if run.num_answered < run.num_samples:
            print(f"{run.label}: {run.num_samples - run.num_answered} of {run.num_samples} problems were not answered")
