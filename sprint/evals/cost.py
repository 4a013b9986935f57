"""What the rollouts cost at given prices for a million tokens. It knows counts and prices, and nobody's price list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sprint.evals.bootstrap import mean_interval
from sprint.evals.comparison import Estimate
from sprint.evals.results import Result, by_problem
from sprint.requests import AnnotationUsage, Prices
from sprint.usage import Usage


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: the mean cost of a sample (over problems, with its bootstrap interval), and of a right answer.

    `per_right` is the cost of all samples over the number of right ones; None where none is right. Where the server
    does not say what came from its cache, `cache_known` is False and every prompt token is charged in full; without
    `prompts_known` (an imported run) prompts are not charged at all. Samples that were not answered cost nothing here,
    since nobody said what they cost.
    """

    label: str
    num_samples: int
    per_sample: Estimate
    per_right: float | None
    cache_known: bool
    prompts_known: bool


def cost(results: Sequence[Result], prices: Prices) -> Cost | None:
    """The cost of a run; None where nothing was answered."""
    answered = [result for result in results if result.usage]
    if not answered:
        return None
    groups = [[_price(r.usage, prices) for r in group if r.usage] for group in by_problem(answered).values()]
    right, spent = sum(result.is_correct for result in results), sum(map(sum, groups))
    estimate = Estimate(fmean(map(fmean, groups)), mean_interval(groups))
    known = all(result.usage.cached_prompt_tokens is not None for result in answered if result.usage)
    prompts = all(result.usage.prompt_tokens for result in answered if result.usage)
    return Cost(results[0].label, len(answered), estimate, spent / right if right else None, known, prompts)


def _price(usage: Usage, prices: Prices) -> float:
    counted = AnnotationUsage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_prompt_tokens,
        output_tokens=usage.generated_tokens,
    )
    return prices.cost(counted)
