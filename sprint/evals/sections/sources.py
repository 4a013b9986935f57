"""The end of a report: every measure, how rollouts ended, and the files that the numbers trace to."""

from __future__ import annotations

from itertools import groupby

from sprint.evals.blocks import Block, Heading, Items, Paragraph, Row, SourceList, Table
from sprint.evals.report import Report
from sprint.evals.runs import Run, RunFile
from sprint.evals.table import Line, lines, percent_range, points


def sources(report: Report) -> list[Block]:
    """The sections."""
    said = "Every number above is computed from these files and nothing else, by the command that wrote this page."
    runs = tuple((_name(run), tuple(map(_file, run.files))) for run in report.sources)
    return [
        Heading("Every counter"),
        _counters(report),
        Paragraph("How the rollouts ended; – means not reported.", fine=True),
        Items(tuple(_ended(report))),
        Heading("Sources"),
        Paragraph(said),
        SourceList(runs),
    ]


def _counters(report: Report) -> Table:
    summaries = [one.summary for one in report.findings]
    heads = ["mean per problem", *(run.label for run in summaries)]
    heads += [f"{item.label} / {item.baseline}" for item in report.comparisons]
    rows = []
    for name, group in groupby(_lines(report), key=lambda line: line.group):
        rows.append(Row((name,), group=True))
        rows += [Row((line.name, *line.cells, *line.ratios), small=line.meaning) for line in group]
    counts = ", ".join(f"{run.label}: n = {run.num_answered:,} answered samples" for run in summaries)
    ratios = " Ratios are of means, with a paired bootstrap interval of 95 %." if report.comparisons else ""
    return Table(tuple(heads), tuple(rows), f"{counts}.{ratios}", tuple(range(1, len(summaries) + 1)))


def _lines(report: Report) -> list[Line]:
    """Every line of the table, with the bootstrap's interval under the accuracy."""
    found = lines([one.summary for one in report.findings], report.comparisons)
    around = tuple(f"[{percent_range(one.accuracy_bootstrap)}]" for one in report.findings)
    apart = tuple(points(one.accuracy.value, one.accuracy.interval) for one in report.comparisons)
    meaning = "accuracy again, and its difference: problems drawn anew, each with all its samples"
    return [found[0], Line("bootstrap", meaning, around, apart, found[0].group), *found[1:]]


def _ended(report: Report) -> list[str]:
    found = []
    for one in report.findings:
        run = one.summary
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in run.stop_reasons.items())
        missing = run.num_samples - run.num_answered
        failed = f"; {missing:,} were not answered, count as wrong and are in no mean" if missing else ""
        found.append(f"{run.label}: {reasons}{failed}")
    return found


def _name(run: Run) -> str:
    first = run.results[0]
    sampling = "greedy" if first.temperature == 0 else f"temperature {first.temperature:g}"
    method = next((result.method for result in run.results if result.method), "")
    return f"{run.label}: {', '.join(part for part in (f'model {first.model}', method, sampling) if part)}"


def _file(file: RunFile) -> tuple[str, str, str]:
    return file.path, file.sha256, f"{file.num_rows:,} rows, seed {', '.join(map(str, file.seeds))}"
