"""What a reader wants first: the few numbers, what they show in words, the paper's table, and the Pareto plots."""

from __future__ import annotations

from functools import partial

from sprint.evals.blocks import Block, Card, Cards, Heading, Paragraph, Picture, Row, Table
from sprint.evals.comparison import Comparison
from sprint.evals.drawing import COLOURS
from sprint.evals.figures import pareto_figure
from sprint.evals.findings import Findings
from sprint.evals.measures import MEASURES, WALLS
from sprint.evals.pareto import clock, points
from sprint.evals.report import Report
from sprint.evals.table import number, p_value, percent, percent_range, saved
from sprint.evals.table import points as in_points

_SAVED = ("pipelined_tokens", "paper_sequential_tokens")
_HEADLINE = (*_SAVED, "generated_tokens")


def overview(report: Report) -> list[Block]:
    """Cards, sentences, table and plots."""
    said = ([report.note] if report.note else []) + report.words()
    return [
        _cards(report),
        *map(Paragraph, said),
        Heading("The paper's table, for these runs"),
        paper_table(report),
        *_plots(report),
    ]


def _cards(report: Report) -> Cards:
    runs = [_accuracy_card(one, COLOURS[i % len(COLOURS)]) for i, one in enumerate(report.findings)]
    alone = len(report.comparisons) == 1  # with more, the seconds are left to the sentences and the plot
    return Cards(tuple([card for one in report.comparisons for card in _ratio_cards(one, with_clock=alone)] + runs))


def _ratio_cards(comparison: Comparison, with_clock: bool) -> list[Card]:
    wall = [name for name in WALLS if comparison.ratios[name]][: int(with_clock)]
    whose, cards = f"{comparison.label} against {comparison.baseline}", []
    for key in ("pipelined_tokens", *wall):
        if estimate := comparison.ratios[key]:
            name = "sequential tokens" if key == "pipelined_tokens" else MEASURES[key].name
            around = (
                f"95 % interval {estimate.interval.low:.2f}–{estimate.interval.high:.2f}, n = {estimate.num_problems}"
            )
            cards.append(Card(f"× {estimate.value:.2f}", f"{name}, {whose}", around))
    return cards


def _accuracy_card(one: Findings, colour: str) -> Card:
    run = one.summary
    guess = "" if run.guess is None else f" · majority guess {percent(run.guess)}"
    around = f"95 % interval {percent_range(run.accuracy_interval)}, n = {run.num_problems}{guess}"
    return Card(percent(run.accuracy), f"{run.label} is right", around, colour)


def paper_table(report: Report) -> Table:
    """Accuracy, sequential and total tokens of every run, and what each saves against the baseline (paper Table 2)."""
    heads = ["", "accuracy"]
    for key in _HEADLINE:
        heads += [f"{MEASURES[key].name} tokens", *(["saved"] if report.comparisons and key in _SAVED else [])]
    heads += ["difference", "p"] if report.comparisons else []
    against = {comparison.label: comparison for comparison in report.comparisons}
    rows = tuple(_row(one, against.get(one.label), bool(against)) for one in report.findings)
    return Table(tuple(heads), rows, _caption(report), tuple(range(1, len(report.findings) + 1)))


def _caption(report: Report) -> str:
    said = "Means per problem. Accuracy: Wilson's 95 % interval (the bootstrap's stands with every counter, below)."
    if not report.comparisons:
        return said
    tests = ", ".join(sorted({comparison.test for comparison in report.comparisons}))
    uncorrected = ", before Holm's correction (above)" if len(report.comparisons) > 1 else ""
    against = (
        f" Saved and difference: against {report.comparisons[0].baseline}, on shared problems, with 95 % intervals"
    )
    return f"{said}{against} (saved: paired bootstrap; accuracy: {_interval_name(report)}). p: {tests}{uncorrected}."


def _interval_name(report: Report) -> str:
    several = any(one.summary.num_samples > one.summary.num_problems for one in report.findings)
    return "paired bootstrap" if several else "Newcombe's score interval for paired shares"


def _row(one: Findings, comparison: Comparison | None, compared: bool) -> Row:
    run = one.summary
    cells = [one.label, f"{percent(run.accuracy)} [{percent_range(run.accuracy_interval)}]"]
    for key in _HEADLINE:
        cells.append(number(run.counters[key]))
        if compared and key in _SAVED:
            cells.append(saved(comparison.ratios[key]) if comparison else "")
    if compared:
        cells += _difference(comparison)
    samples = "" if run.num_samples == run.num_problems else f", {run.num_samples:,} samples"
    return Row(tuple(cells), small=f"n = {run.num_problems:,}{samples}")


def _difference(comparison: Comparison | None) -> list[str]:
    """The last two cells: empty for the baseline itself."""
    if comparison is None:
        return ["", ""]
    return [in_points(comparison.accuracy.value, comparison.accuracy_interval), p_value(comparison.p_value)]


def _plots(report: Report) -> list[Block]:
    summaries = [one.summary for one in report.findings]
    guess = next((run.guess for run in summaries if run.guess is not None), None)
    blocks: list[Block] = []
    axes = [("pipelined_tokens", "Accuracy against sequential tokens", "sequential tokens per problem (pipelined)")]
    if wall := clock(summaries):
        axes.append((wall, "Accuracy against seconds", f"{MEASURES[wall].name} per problem"))
    for measure, title, label in axes:
        if found := points(report.runs, summaries, measure):
            caption = "Upright: Wilson's 95 % interval of the accuracy; across: bootstrap 95 % interval of the mean."
            caption += " " + ", ".join(f"{p.label}: n = {p.num_problems}" for p in found) + "."
            sources = tuple(range(1, len(found) + 1))
            blocks += [Heading(title), Picture(partial(pareto_figure, found, label, guess), caption, sources)]
    return blocks
