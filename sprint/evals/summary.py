"""What one run came to: accuracy with its intervals, and the mean of every measure.

It knows results and statistics, not how the results were obtained, what they are compared with, or how it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from sprint.evals.bootstrap import Groups, mean_interval, mean_of_means
from sprint.evals.measures import MEASURES, average
from sprint.evals.results import Result, by_problem
from sprint.evals.stats import Interval, wilson
from sprint.usage import Usage


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Token counts and seconds are means over the samples that were answered; None where not reported.

    Every problem weighs the same, however many samples it has; what was not answered counts as wrong. `guess` is the
    accuracy of the majority guess, None where no training answers were given. `counters` holds every measure of
    `sprint.evals.measures`; `wall_s` among them is the client's clock with `concurrency` requests in flight,
    `wall_alone_s` that of problems that were asked one at a time.
    """

    label: str
    model: str
    method: str
    task: str
    concurrency: int
    num_problems: int
    num_samples: int
    num_answered: int
    num_correct: int
    accuracy: float
    accuracy_interval: Interval
    guess: float | None
    prefix_hit_rate: float | None
    counters: dict[str, float | None]
    stop_reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(results: Sequence[Result]) -> Summary:
    """The summary of one run's results."""
    answered = [result for result in results if result.usage]
    problems, measured = by_problem(results), by_problem(answered)
    accuracy, guesses = mean_of_means(marks(results)), [result.guess for result in results]
    return Summary(
        label=results[0].label,
        model=results[0].model,
        method=next((result.method for result in answered), ""),
        task=results[0].task,
        concurrency=max(result.concurrency for result in results),
        num_problems=len(problems),
        num_samples=len(results),
        num_answered=len(answered),
        num_correct=sum(result.is_correct for result in results),
        accuracy=accuracy,
        accuracy_interval=wilson(min(accuracy, 1.0) * len(problems), len(problems)),
        guess=None if None in guesses else fmean(grade.is_correct for grade in guesses if grade),
        prefix_hit_rate=_hit_rate([result.usage for result in answered if result.usage]),
        counters={name: average(list(measured.values()), name) for name in MEASURES},
        stop_reasons=dict(Counter(result.stop_reason for result in results).most_common()),
    )


def marks(results: Sequence[Result]) -> Groups:
    """For each problem, 1 for each right sample and 0 for each other."""
    return [[float(result.is_correct) for result in group] for group in by_problem(results).values()]


def accuracy_bootstrap(results: Sequence[Result]) -> Interval:
    """Bootstrap interval of the accuracy: problems resampled, each with all its samples."""
    return mean_interval(marks(results))


def _hit_rate(usages: Sequence[Usage]) -> float | None:
    """Over all prompts together: a long prompt weighs more than a short one."""
    return sum(usages, Usage()).prefix_hit_rate
