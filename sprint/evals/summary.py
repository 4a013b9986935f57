"""What a run came to: accuracy with its interval and the mean of every counter, and the comparison of two runs.

It knows results and statistics, not how either was obtained or how it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sprint.errors import InputError
from sprint.evals.results import Result
from sprint.evals.stats import Interval, mcnemar, mean, ratio_of_means, wilson
from sprint.usage import Usage

COUNTERS = (
    "pipelined_tokens",
    "barrier_tokens",
    "paper_sequential_tokens",
    "code_sequential_tokens",
    "generated_tokens",
    "runtime_tokens",
    "prompt_tokens",
    "cached_prompt_tokens",
    "join_prefill_tokens",
    "num_rounds",
    "num_executions",
    "num_calls",
    "time_to_first_token_s",
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Token counts and seconds are means over the samples that were answered; None where not reported.

    Problems that were not answered count as wrong. `guess` is the accuracy of the majority guess, None where no
    training answers were given. `wall_s` is the client's clock with `concurrency` requests in flight, `wall_alone_s` on
    problems that were asked one at a time; None where none were.
    """

    label: str
    model: str
    method: str
    task: str
    concurrency: int
    num_samples: int
    num_answered: int
    num_correct: int
    accuracy: float
    accuracy_interval: Interval
    guess: float | None
    wall_s: float | None
    wall_alone_s: float | None
    prefix_hit_rate: float | None
    counters: dict[str, float | None]
    stop_reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(results: Sequence[Result]) -> Summary:
    """The summary of one run's results."""
    answered = [result for result in results if result.usage]
    correct = sum(result.is_correct for result in results)
    guesses = [result.guess for result in results]
    return Summary(
        label=results[0].label,
        model=results[0].model,
        method=next((result.method for result in answered), ""),
        task=results[0].task,
        concurrency=max(result.concurrency for result in results),
        num_samples=len(results),
        num_answered=len(answered),
        num_correct=correct,
        accuracy=correct / len(results),
        accuracy_interval=wilson(correct, len(results)),
        guess=None if None in guesses else sum(grade.is_correct for grade in guesses if grade) / len(results),
        wall_s=_clock(answered, "wall_s"),
        wall_alone_s=_clock(answered, "wall_alone_s"),
        prefix_hit_rate=_hit_rate([result.usage for result in answered if result.usage]),
        counters={name: mean([getattr(result.usage, name) for result in answered]) for name in COUNTERS},
        stop_reasons=dict(Counter(result.stop_reason for result in results).most_common()),
    )


def _clock(answered: Sequence[Result], name: str) -> float | None:
    """The mean over the problems that this clock was on for."""
    return mean([seconds for result in answered if (seconds := _value(result, name)) is not None])


def _hit_rate(usages: Sequence[Usage]) -> float | None:
    """Over all prompts together: a long prompt weighs more than a short one."""
    return sum(usages, Usage()).prefix_hit_rate


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against the baseline, on the problems both answered.

    Ratios are of means (run / baseline) with a paired bootstrap interval of 95 %; None where a counter is missing.
    `mcnemar_p` is the exact two-sided p-value of the difference in accuracy.
    """

    label: str
    baseline: str
    num_pairs: int
    ratios: dict[str, tuple[float, Interval] | None]
    only_run_correct: int
    only_baseline_correct: int
    mcnemar_p: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(run: Sequence[Result], baseline: Sequence[Result]) -> Comparison:
    """`run` against `baseline`. Raises InputError when they share no problem, or one id has two questions."""
    theirs = {result.id: result for result in baseline}
    pairs = [(mine, theirs[mine.id]) for mine in run if mine.id in theirs]
    if not pairs:
        raise InputError(f"the runs {run[0].label!r} and {baseline[0].label!r} share no problem, so cannot be compared")
    for mine, other in pairs:
        if mine.question != other.question:
            raise InputError(f"problem {mine.id!r} has different questions in the runs, so they cannot be compared")
    measured = [(mine, other) for mine, other in pairs if mine.usage and other.usage]
    only_run = sum(mine.is_correct and not other.is_correct for mine, other in pairs)
    only_baseline = sum(other.is_correct and not mine.is_correct for mine, other in pairs)
    return Comparison(
        label=run[0].label,
        baseline=baseline[0].label,
        num_pairs=len(measured),
        ratios={name: _ratio(measured, name) for name in (*COUNTERS[:5], "wall_s", "wall_alone_s")},
        only_run_correct=only_run,
        only_baseline_correct=only_baseline,
        mcnemar_p=mcnemar(only_run, only_baseline),
    )


def _ratio(pairs: Sequence[tuple[Result, Result]], name: str) -> tuple[float, Interval] | None:
    values = [(_value(mine, name), _value(theirs, name)) for mine, theirs in pairs]
    if not name.startswith("wall") and any(None in pair for pair in values):
        return None  # a counter that one run does not report; clocks are of some of the problems by design
    both = [(mine, theirs) for mine, theirs in values if mine is not None and theirs is not None]
    above, below = [mine for mine, _ in both], [theirs for _, theirs in both]
    interval = ratio_of_means(above, below)
    return (sum(above) / sum(below), interval) if interval else None


def _value(result: Result, name: str) -> float | None:
    if name in ("wall_s", "wall_alone_s"):
        alone = result.concurrency == 1
        return result.wall_s if alone == (name == "wall_alone_s") else None
    value: float | None = getattr(result.usage, name)
    return value
