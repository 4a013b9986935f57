"""What the numbers show, and what they do not, in sentences. It knows numbers, not how they were obtained."""

from __future__ import annotations

from collections.abc import Sequence

from sprint.evals.comparison import Comparison, Estimate
from sprint.evals.grading import GraderTest
from sprint.evals.results import Result
from sprint.evals.savings import Savings
from sprint.evals.summary import Summary
from sprint.evals.table import minus, p_value

GENERATED_TASKS = ("chains", "countdown")


def verdict(comparison: Comparison, num_comparisons: int = 1, tests: Sequence[GraderTest] = ()) -> list[str]:
    """Paragraphs on one comparison: accuracy, then tokens, then seconds, each with whether it is significant.

    `tests` are those of this comparison under each grader: where they do not agree, that is said with the accuracy.
    """
    said = " ".join(filter(None, (accuracy(comparison, num_comparisons), graders_disagree(tests))))
    return [part for part in (said, _tokens(comparison), _seconds(comparison)) if part]


def accuracy(comparison: Comparison, num_comparisons: int = 1) -> str:
    """Whether the run is right more often than the baseline."""
    mine, theirs = (f"{100 * share:.1f} %" for share in comparison.shares)
    low, high = 100 * comparison.accuracy_interval.low, 100 * comparison.accuracy_interval.high
    apart = f"{100 * comparison.accuracy.value:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
    is_it = "is significant" if comparison.is_significant else "is not significant"
    corrected = ""
    if num_comparisons > 1:
        corrected = f"; after Holm's correction for {num_comparisons} comparisons {p_value(comparison.p_adjusted)}"
    return (
        f"Accuracy on the {comparison.num_shared} problems that both were asked: {comparison.label} {mine}, "
        f"{comparison.baseline} {theirs} ({minus(apart)}). The difference {is_it} at the 5 % level "
        f"({comparison.test}, {comparison.better} problems for {comparison.label}, {comparison.worse} for "
        f"{comparison.baseline}, {p_value(comparison.p_value)}{corrected})."
    )


def graders_disagree(tests: Sequence[GraderTest]) -> str:
    """That the significance of a difference in accuracy hangs on the grader; "" where all graders agree on it."""
    yes, no = ([one for one in tests if one.is_significant is wanted] for wanted in (True, False))
    up, down = ([one for one in yes if (one.test.better > one.test.worse) is wanted] for wanted in (True, False))
    if not (yes and no) and not (up and down):
        return ""
    first = tests[0]
    sides = [f"significant under {_listed(yes)}"] + ([f"not under {_listed(no)}"] if no else [])
    said = f"But graders disagree on that, so it hangs on how answers are read: {', '.join(sides)}."
    if any(first.unanswered):
        mine, theirs = first.unanswered
        said += f" Of {first.label} {mine} and of {first.baseline} {theirs} answers stand in no box."
    return said


def _listed(tests: Sequence[GraderTest]) -> str:
    return " and ".join(
        f"{one.grader!r} ({100 * one.shares[0]:.1f} % against {100 * one.shares[1]:.1f} %, {p_value(one.p_adjusted)})"
        for one in tests
    )


def _tokens(comparison: Comparison) -> str:
    waited, generated = comparison.ratios["pipelined_tokens"], comparison.ratios["generated_tokens"]
    if waited is None:
        return ""
    more = f" It generates {generated.value:.2f} times as many in all ({_range(generated)})." if generated else ""
    return (
        f"Sequential tokens on the {comparison.num_pairs} problems that both answered: {comparison.label} waits for "
        f"{waited.value:.2f} times those of {comparison.baseline} (95 % interval {_range(waited)}; pipelined, tags "
        f"counted); {_less_or_more(waited, 'fewer', 'more')}.{more}"
    )


def _seconds(comparison: Comparison) -> str:
    parts = []
    for name, how in (("wall_alone_s", "asked one at a time"), ("wall_s", "with others in flight")):
        if wall := comparison.ratios[name]:
            longer = f"{wall.value:.2f} times as long as {comparison.baseline} (95 % interval {_range(wall)})"
            parts.append(
                f"On the clock, {how} (n = {wall.num_problems}), {comparison.label} takes {longer}; "
                f"{_less_or_more(wall, 'less', 'more')}."
            )
    return " ".join(parts)


def _less_or_more(ratio: Estimate, less: str, more: str) -> str:
    if ratio.is_of_few:
        return f"{ratio.num_problems} problems are too few to call that significant or not"
    if not ratio.excludes(1.0):
        return "the interval holds 1, so the difference is not significant"
    return f"significantly {less if ratio.value < 1 else more}"


def _range(estimate: Estimate) -> str:
    return f"{estimate.interval.low:.2f} to {estimate.interval.high:.2f}"


def selection(independent: Savings, biased: Savings) -> str:
    """What choosing the bins by the baseline's own length does to the savings in the last bin."""
    fair, unfair = independent.rows[-1].ratio, biased.rows[-1].ratio
    if not fair or not unfair:
        return ""
    counts = [one.rows[-1].num_answered for one in (independent, biased)]
    return (
        f"In the last bin {independent.label} saves {_saved(fair)} % of the sequential tokens of "
        f"{independent.baseline} (n = {counts[0]}) when the bins come from something independent, and {_saved(unfair)} "
        f"% (n = {counts[1]}) when they come from what {biased.baseline} itself wrote, as in the paper."
    )


def _saved(ratio: Estimate) -> str:
    return minus(f"{100 * (1 - ratio.value):.0f}")


def graded_differently(runs: Sequence[Sequence[Result]]) -> str:
    """That the runs were not graded alike, by judge or by what counts as an answer; "" where they were."""
    ways = {run[0].label: _grading(run[0]) for run in runs}
    if len(set(ways.values())) < 2:
        return ""
    listed = "; ".join(f"{label}: {way}" for label, way in ways.items())
    return (
        f"These runs were not graded alike ({listed}), so part of a difference in accuracy may be the grading's: "
        "compare them under a grader that judged both, in the table of graders."
    )


def _grading(result: Result) -> str:
    judge, grader = result.sampling.get("judge"), result.sampling.get("grader", "box")
    read = "boxed answers only" if grader == "box" else "boxed or stated answers"
    return f"{read}, a second look by judge {judge}" if judge else f"{read}, no judge"


def uncorrected(num_comparisons: int) -> str:
    """That the intervals of tokens and seconds stand each alone; "" for one comparison."""
    if num_comparisons < 2:
        return ""
    return (
        f"The intervals of tokens and seconds are of 95 % each, not widened for {num_comparisons} comparisons: "
        "only the p-values of accuracy are corrected."
    )


def limits(summaries: Sequence[Summary]) -> str:
    """What the reader must not conclude."""
    text = "Sequential tokens are not seconds."
    if any(run.counters[name] for run in summaries for name in ("wall_s", "wall_alone_s")):
        flight = max(run.concurrency for run in summaries)
        together = f"with up to {flight} requests in flight" if flight > 1 else "with one request at a time"
        text += (
            f" Seconds were measured by the client {together}, and parallel executions shorten them only where the "
            "machine has room to run them beside each other: on a small or busy one, what one request gains its "
            "neighbours lose."
        )
    else:
        text += " No clock was on for these runs, so nothing here says how long an answer takes."
    if summaries[0].task in GENERATED_TASKS:
        text += (
            " The problems are generated, and the ratio follows from how the task is built: it shows that the "
            "mechanism works from traces to a served model, not what parallel thinking gains on real reasoning."
        )
    return text
