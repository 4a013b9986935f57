"""Shows how far an evaluation is, what it has used and when it will be done: a bar on a terminal, else a few lines.

It knows results and what was spent on them, and no models.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from sprint.evals.budget import Budget
from sprint.evals.results import Result
from sprint.printable import printable

_LINE_EVERY_S = 300.0  # a tenth of a long run may take hours, and whoever reads a job's log wants to know it lives


class Progress:
    """Counts results as they come; use it as a context manager."""

    def __init__(
        self,
        title: str,
        total: int,
        done: Iterable[Result] = (),
        budget: Budget | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.title, self.total = title, total
        self.count = self.correct = self._before = 0
        self._budget, self._clock = budget, clock
        self._began = clock()
        self._bar: Any = None
        self._said = self._began
        for result in done:
            self.resumed(result)

    def __enter__(self) -> Progress:
        self._began = self._clock()
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns).__enter__()
            self._task = self._bar.add_task(self.text, total=self.total, completed=self.count)
        return self

    def __exit__(self, *problem: Any) -> None:
        if self._bar:
            self._bar.__exit__(*problem)
            self._bar = None

    def resumed(self, result: Result) -> None:
        """A result that an earlier start of the run has left."""
        self._count(result)
        self._before += 1

    def add(self, result: Result) -> None:
        """One more result."""
        self._count(result)
        if self._bar:
            self._bar.update(self._task, completed=self.count, description=self.text)
            return
        now = self._clock()
        if now - self._said >= _LINE_EVERY_S or self._is_tenth():
            self._said = now
            print(f"{self.text} {self.count}/{self.total}{self._remaining(now)}", flush=True)

    def _is_tenth(self) -> bool:
        return self.count * 10 // self.total > (self.count - 1) * 10 // self.total

    @property
    def left(self) -> int:
        return self.total - self.count

    def _count(self, result: Result) -> None:
        self.count += 1
        self.correct += result.is_correct

    @property
    def text(self) -> str:
        """What is known so far, in words."""
        spent = self._budget
        parts = [printable(self.title), f"{self.correct} correct"]
        if spent and spent.tokens:
            parts.append(f"{spent.tokens:,} tokens")
        if spent and spent.cost:
            parts.append(f"cost {spent.cost:.2f}")
        return " · ".join(parts)

    def _remaining(self, now: float) -> str:
        """How long the rest will take at the pace of this start of the run."""
        since, passed_s = self.count - self._before, now - self._began
        if not self.left or not since:
            return ""
        left_s = self.left * passed_s / since
        return f", about {left_s / 60:.0f} min left" if left_s >= 90 else f", about {left_s:.0f} s left"
