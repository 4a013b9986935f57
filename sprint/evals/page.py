"""The report as one self-contained HTML page: no script, no network, light and printable. It knows only a `Report`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from sprint.evals.bins import choose_bins
from sprint.evals.figures import COLOURS, accuracy_figure, bins_figure
from sprint.evals.report import Report
from sprint.evals.results import Result
from sprint.evals.table import Line, lines, percent
from sprint.evals.timeline import Track, timeline_figure
from sprint.page import document, figure

_STYLE = Path(__file__).with_name("report.css")


def page(report: Report) -> str:
    """The whole page."""
    first = report.summaries[0]
    subtitle = f"{escape(first.task)} · {first.num_samples} held-out problems · {_sampling(report)}"
    body = [
        f"<header><h1>{escape(report.title)}</h1><p class='subtitle'>{subtitle}</p></header>",
        _cards(report),
        *(f"<p>{escape(text)}</p>" for text in ([report.note] if report.note else []) + report.words()),
        "<h2>Accuracy and the tokens one waits for</h2>",
        figure(
            accuracy_figure(report.runs, report.summaries),
            "Upright: Wilson's 95 % interval of the accuracy. Across: the middle 80 % of the problems.",
        ),
        _length(report),
        _one_problem(report),
        "<h2>Every counter</h2>",
        _table(report),
    ]
    return document(report.title, _STYLE.read_text(encoding="utf-8"), body)


def _sampling(report: Report) -> str:
    result = report.runs[0][0]
    return "greedy" if result.temperature == 0 else f"temperature {result.temperature:g}, seed {result.seed}"


def _cards(report: Report) -> str:
    cards = []
    for comparison in report.comparisons:
        ratio = comparison.ratios["pipelined_tokens"]
        wall = comparison.ratios["wall_alone_s"] or comparison.ratios["wall_s"]
        against = f"of {escape(comparison.baseline)}'s"
        if ratio:
            around = f"95 % interval {ratio[1].low:.2f}–{ratio[1].high:.2f}"
            cards.append(_card(f"× {ratio[0]:.2f}", f"sequential tokens {against}", around))
        if wall:
            around = f"95 % interval {wall[1].low:.2f}–{wall[1].high:.2f}"
            clock = "one at a time" if comparison.ratios["wall_alone_s"] else "side by side"
            cards.append(_card(f"× {wall[0]:.2f}", f"wall seconds {against}, {clock}", around))
    for run, colour in zip(report.summaries, COLOURS * len(report.summaries), strict=False):
        interval = run.accuracy_interval
        around = f"95 % interval {100 * interval.low:.1f}–{100 * interval.high:.1f}"
        guess = "" if run.guess is None else f" · majority guess {percent(run.guess)}"
        cards.append(_card(percent(run.accuracy), f"{escape(run.label)} is right", around + guess, colour))
    return f"<section class='cards'>{''.join(cards)}</section>"


def _card(value: str, name: str, small: str, colour: str = "inherit") -> str:
    return f"<div class='card'><b style='color:{colour}'>{value}</b><span>{name}</span><small>{small}</small></div>"


def _length(report: Report) -> str:
    bins = choose_bins(report.runs[report.baseline or 0])
    if bins is None:
        return "<h2>By length</h2><p>The problems are all equally long, so there are no length bins to show.</p>"
    drawn = bins_figure(report.runs, [run.label for run in report.summaries], bins)
    return f"<h2>By length</h2>{figure(drawn, bins.caveat)}"


def _one_problem(report: Report) -> str:
    """The problem whose timelines are shown: the first that every run with timelines recorded."""
    shown = _with_timelines(report)
    if not shown:
        return ""
    tracks = [Track(_took(result), result.timeline) for result in shown]
    caption = "Each box is one call to the engine, from its start to its last token; hover for its seconds."
    texts = "".join(_text(result) for result in shown)
    question = f"<pre class='question'>{escape(shown[0].question)}</pre>"
    return f"<h2>One problem on the clock</h2>{question}{figure(timeline_figure(tracks), caption)}{texts}"


def _with_timelines(report: Report) -> list[Result]:
    timed = [{result.id: result for result in run if result.timeline} for run in report.runs]
    timed = [run for run in timed if run]
    common = [problem for problem in (timed[0] if timed else {}) if all(problem in run for run in timed)]
    problem = next((p for p in common if all(run[p].is_correct for run in timed)), common[0] if common else None)
    return [run[problem] for run in timed] if problem else []


def _took(result: Result) -> str:
    tokens = result.usage.pipelined_tokens if result.usage else 0
    return f"{result.label}: {tokens} sequential tokens, {result.wall_s:.2f} s"


def _text(result: Result) -> str:
    text = escape(result.reasoning or result.answer)
    return f"<details><summary>What {escape(result.label)} wrote</summary><pre>{text}</pre></details>"


def _table(report: Report) -> str:
    heads = [escape(run.label) for run in report.summaries]
    heads += [f"{escape(item.label)} / {escape(item.baseline)}" for item in report.comparisons]
    head = "<tr><th>mean per problem</th>" + "".join(f"<th>{name}</th>" for name in heads) + "</tr>"
    groups = groupby(lines(report.summaries, report.comparisons), key=lambda line: line.group)
    rows = "".join(_group(name, list(group), len(heads)) for name, group in groups)
    return f"<div class='wide'><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>{_unanswered(report)}"


def _group(name: str, group: Sequence[Line], columns: int) -> str:
    rows = [f"<tr class='group'><th colspan='{columns + 1}'>{escape(name)}</th></tr>"]
    for line in group:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*line.cells, *line.ratios))
        rows.append(f"<tr><th>{escape(line.name)}<small>{escape(line.meaning)}</small></th>{cells}</tr>")
    return "".join(rows)


def _unanswered(report: Report) -> str:
    parts = []
    for run in report.summaries:
        reasons = ", ".join(f"{escape(reason)} {count}" for reason, count in run.stop_reasons.items())
        missing = run.num_samples - run.num_answered
        failed = f"; {missing} were not answered, count as wrong and are in no mean" if missing else ""
        parts.append(f"<li>{escape(run.label)}: {reasons}{failed}</li>")
    ratios = " Ratios are of means, with a paired bootstrap interval of 95 %." if report.comparisons else ""
    note = f"<p class='fine'>How the rollouts ended; – means not reported.{ratios}</p>"
    return f"{note}<ul class='fine'>{''.join(parts)}</ul>"
