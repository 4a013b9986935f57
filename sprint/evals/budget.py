"""Keeps a run in hand: what it has spent, and when that is enough.

It knows counters, prices and a clock, not what is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sprint.errors import SprintError
from sprint.evals.config import EvalConfig
from sprint.evals.results import Result
from sprint.requests import AnnotationUsage, Prices


class Stopped(SprintError):
    """The run was stopped on purpose, and can be gone on with; the message says why and how."""


class Budget:
    """Adds up what results have used. What is in flight when a limit is reached is finished, and so spent on top."""

    def __init__(self, config: EvalConfig, clock: Callable[[], float] = time.perf_counter) -> None:
        self._limits = config.budget
        self._prices = config.prices.prices or Prices()
        self._clock = clock
        self._began = clock()
        self.tokens = 0
        self.cost = 0.0

    def add(self, result: Result) -> None:
        """What one more result has used. A failed one says nothing of its use, and counts for nothing."""
        if (usage := result.usage) is None:
            return
        self.tokens += usage.prompt_tokens + usage.generated_tokens
        counted = AnnotationUsage(
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_prompt_tokens,
            output_tokens=usage.generated_tokens,
        )
        self.cost += self._prices.cost(counted)

    @property
    def exceeded(self) -> str:
        """Which limit is reached, in words; "" while there is room."""
        limits, spent_s = self._limits, self._clock() - self._began
        if limits.tokens and self.tokens >= limits.tokens:
            return f"{self.tokens:,} of at most {limits.tokens:,} tokens are used, go on with a higher tokens="
        if limits.cost and self.cost >= limits.cost:
            return f"{self.cost:.4g} of at most {limits.cost:g} is spent, go on with a higher cost="
        if limits.seconds and spent_s >= limits.seconds:
            return f"{spent_s:.0f} of at most {limits.seconds:g} seconds are over, go on with seconds="
        return ""
