"""How the rounds went: one problem on the clock, prompts per round by level, stragglers, prefill and cache."""

from __future__ import annotations

from functools import partial

from sprint.evals.blocks import Block, Heading, Picture, Quote, Row, Table
from sprint.evals.drawing import COLOURS
from sprint.evals.figures import pattern_figure, stragglers_figure
from sprint.evals.findings import Findings
from sprint.evals.measures import MEASURES
from sprint.evals.pattern import Pattern
from sprint.evals.report import Report
from sprint.evals.results import Result
from sprint.evals.stats import wilson
from sprint.evals.summary import Summary
from sprint.evals.table import NOT_REPORTED, number, percent, percent_range, rate
from sprint.evals.timeline import Track, timeline_figure

_PREFILL = ("prompt_tokens", "cached_prompt_tokens", "computed_prompt_tokens", "join_prefill_tokens", "prefill_s")
_MOST_ROUNDS = 12  # rows of the pattern's table


def rounds(report: Report) -> list[Block]:
    """The sections, each where some run has something to show."""
    return [*_one_problem(report), *_patterns(report), *_stragglers(report), *_prefill(report)]


def _one_problem(report: Report) -> list[Block]:
    """The problem whose timelines are shown: the first that every run with timelines recorded."""
    shown = _with_timelines(report)
    if not shown:
        return []
    tracks = [Track(_took(result), result.timeline) for _, result in shown]
    caption = "One problem (n = 1). Each box is one call to the engine, from its start to its last token."
    drawn = Picture(partial(timeline_figure, tracks), caption, tuple(place for place, _ in shown))
    texts = [Quote(result.reasoning or result.answer, f"What {result.label} wrote") for _, result in shown]
    return [Heading("One problem on the clock"), Quote(shown[0][1].question), drawn, *texts]


def _with_timelines(report: Report) -> list[tuple[int, Result]]:
    """The number of each run that has timelines, and its result on the problem shown."""
    timed = {
        place: {result.id: result for result in run if result.timeline} for place, run in enumerate(report.runs, 1)
    }
    timed = {place: run for place, run in timed.items() if run}
    first = next(iter(timed.values()), {})
    common = [problem for problem in first if all(problem in run for run in timed.values())]
    right = (problem for problem in common if all(run[problem].is_correct for run in timed.values()))
    problem = next(right, common[0] if common else None)
    return [(place, run[problem]) for place, run in timed.items()] if problem is not None else []


def _took(result: Result) -> str:
    tokens = result.usage.pipelined_tokens if result.usage else 0
    return f"{result.label}: {tokens:,} sequential tokens, {result.wall_s:.2f} s"


def _patterns(report: Report) -> list[Block]:
    blocks: list[Block] = []
    for place, one in enumerate(report.findings, 1):
        if one.pattern:
            title = f"{one.label}, by level" if any(one.pattern.levels) else one.label
            caption = (
                f"n = {sum(one.pattern.num_rollouts):,} rollouts with an answer. Counts; their shares with Wilson's "
            )
            caption += "intervals stand below."
            blocks += [Heading(title, 3), Picture(partial(pattern_figure, one.pattern), caption, (place,))]
            blocks.append(_pattern_table(one.pattern, place))
    return [Heading("Prompts per round"), *blocks] if blocks else []


def _pattern_table(pattern: Pattern, place: int) -> Table:
    heads = ("round", "rollouts that reach it", "with several prompts", "prompts per rollout")
    each = sum(pattern.num_rollouts) / pattern.num_problems  # samples of a problem count as one in the interval
    rows = []
    for i in range(min(len(pattern.reached[0]), _MOST_ROUNDS)):
        reached, several, prompts = (
            sum(row[i] for row in c) for c in (pattern.reached, pattern.several, pattern.prompts)
        )
        share = f"{percent(several / reached)} [{percent_range(wilson(several / each, reached / each))}]"
        rows.append(Row((f"{i + 1}", f"{reached:,}", share, f"{prompts / reached:.2f}")))
    left = len(pattern.reached[0]) - len(rows)
    caption = "Share of the rollouts that reach the round whose plan hands out several prompts there, Wilson 95 %."
    return Table(heads, tuple(rows), caption + (f" {left} further rounds are drawn above." if left else ""), (place,))


def _stragglers(report: Report) -> list[Block]:
    found = [(place, one.stragglers) for place, one in enumerate(report.findings) if one.stragglers]
    if not found:
        return []
    colours = [COLOURS[place % len(COLOURS)] for place, _ in found]
    drawn = partial(stragglers_figure, [one for _, one in found], colours)
    sources = tuple(place + 1 for place, _ in found)
    rows = []
    for _, one in found:
        waiting = percent(one.waiting) if one.waiting is not None else NOT_REPORTED
        if one.waiting_interval:
            waiting += f" [{percent_range(one.waiting_interval)}]"
        mean = f"{one.mean:.2f} [{one.mean_interval.low:.2f}–{one.mean_interval.high:.2f}]"
        cells = (one.label, f"{one.num_problems:,}", f"{len(one.ratios):,}", mean, f"{one.median:.2f}")
        rows.append(Row((*cells, f"{one.high:.2f}", waiting), small=f"lengths in {one.unit}"))
    heads = ("longest / mean of a round", "problems", "rounds", "mean", "median", "90th percentile", "time waiting")
    caption = (
        "Rounds with several executions. Mean over problems with bootstrap 95 % interval. Time waiting: the share of"
    )
    caption += " the server's wall clock during which the planner had nothing to do but wait for executions."
    counts = ", ".join(f"{one.label}: n = {len(one.ratios):,} rounds" for _, one in found)
    drawing = "How many of the rounds wait at most x times as long as their mean execution; intervals stand below. "
    drawing += f"{counts}."
    return [Heading("Stragglers"), Picture(drawn, drawing, sources), Table(heads, tuple(rows), caption, sources)]


def _prefill(report: Report) -> list[Block]:
    if not any(one.summary.counters["prompt_tokens"] for one in report.findings):
        return []
    heads = ("mean per problem", *(MEASURES[name].name for name in _PREFILL), "prefix hit rate", "of the wall clock")
    rows = tuple(_prefill_row(one) for one in report.findings)
    caption = (
        "Computed: what the engine had to read. Until a plan begins: the planner's calls before their first tokens,"
    )
    caption += " queueing included, beside the server's wall clock. n: samples with an answer."
    return [Heading("Prefill and cache"), Table(heads, rows, caption, tuple(range(1, len(rows) + 1)))]


def _prefill_row(one: Findings) -> Row:
    run: Summary = one.summary
    usages = [result.usage for result in one.run.results if result.usage]
    wall = sum(usage.wall_s for usage in usages)
    began = sum(usage.prefill_s for usage in usages)
    share = rate(began / wall) if wall and began else NOT_REPORTED
    counted = [run.counters[name] for name in _PREFILL]
    cells = [number(value) for value in counted[:-1]] + [number(counted[-1] or None)]
    return Row((run.label, *cells, rate(run.prefix_hit_rate), share), small=f"n = {run.num_answered:,}")
