"""Savings by length: the independent bins first, the biased ones beside them and called so."""

from __future__ import annotations

from functools import partial

from sprint.evals.bins import Source
from sprint.evals.blocks import Block, Heading, Paragraph, Picture, Row, Table
from sprint.evals.figures import savings_figure
from sprint.evals.report import Report
from sprint.evals.savings import BinRow, Savings
from sprint.evals.stats import Interval
from sprint.evals.table import NOT_REPORTED, difference, number, percent, percent_range, saved
from sprint.evals.words import selection


def lengths(report: Report) -> list[Block]:
    """For every comparison a drawing of all choices of bins, and a table for each."""
    if not report.comparisons:
        return []
    blocks: list[Block] = [Heading("Savings by length")]
    for comparison in report.comparisons:
        chosen = [one for one in report.savings if one.label == comparison.label]
        blocks += _of(chosen, report) if chosen else []
    if len(blocks) == 1:
        blocks.append(Paragraph("The problems are all equally long, so there are no length bins to show."))
    return blocks


def _of(chosen: list[Savings], report: Report) -> list[Block]:
    first = chosen[0]
    blocks: list[Block] = [Heading(f"{first.label} against {first.baseline}", 3)]
    if not first.bins.source.is_independent:
        blocks.append(Paragraph(_NONE))
    elif len(chosen) > 1 and (sentence := selection(first, chosen[1])):
        blocks.append(Paragraph(sentence))
    titles = [_title(one) for one in chosen]
    caption = "Bars: 1 − ratio of mean sequential tokens, paired bootstrap 95 % interval; n under each bin."
    caption += " Grey: biased, by the compared runs' own length, for comparison with the paper."
    blocks.append(Picture(partial(savings_figure, chosen, titles), caption, _sources(first, report)))
    return blocks + [_table(one, report) for one in chosen]


_NONE = (
    "Nothing independent of the runs tells long problems from short ones here (no level, questions about equally long, "
    "no held-out run: --lengths RUN.jsonl), so only the biased bins can be shown. Do not read them as savings on hard "
    "problems."
)


def _title(one: Savings) -> str:
    return "independent" if one.bins.source.is_independent else f"biased: by {one.bins.whose}'s own length"


def _table(one: Savings, report: Report) -> Table:
    heads = (
        "bin",
        "n",
        one.baseline,
        one.label,
        "saved",
        "difference",
        f"accuracy {one.baseline}",
        f"accuracy {one.label}",
    )
    caption = f"{one.bins.caveat} Mean sequential tokens (pipelined) of problems that both answered."
    title = f"{'Independent' if one.bins.source.is_independent else 'Biased'} bins: {one.bins.name}"
    return Table(heads, tuple(map(_row, one.rows)), caption, _sources(one, report), title)


def _row(row: BinRow) -> Row:
    cells = [row.title, f"{row.num_answered}", number(row.theirs), number(row.mine), saved(row.ratio)]
    return Row((*cells, difference(row.more), _accuracy(row.baseline_accuracy), _accuracy(row.accuracy)))


def _accuracy(found: tuple[float, Interval] | None) -> str:
    return f"{percent(found[0])} [{percent_range(found[1])}]" if found else NOT_REPORTED


def _sources(one: Savings, report: Report) -> tuple[int, ...]:
    """The two runs, and the held-out one where it chose the bins."""
    labels = [run.label for run in report.sources[: len(report.findings)]]
    held_out = (len(report.sources),) if one.bins.source is Source.HELD_OUT else ()
    return (labels.index(one.label) + 1, labels.index(one.baseline) + 1, *held_out)
