"""Shows how far an evaluation is: a bar on a terminal, a line every tenth elsewhere. It knows only results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from sprint.evals.results import Result


class Progress:
    """Counts results as they come; use it as a context manager."""

    def __init__(self, title: str, total: int, done: Iterable[Result] = ()) -> None:
        self.title, self.total = title, total
        self.count = self.correct = 0
        for result in done:
            self._count(result)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns).__enter__()
            self._task = self._bar.add_task(self._text, total=self.total, completed=self.count)
        return self

    def __exit__(self, *problem: Any) -> None:
        if self._bar:
            self._bar.__exit__(*problem)

    def add(self, result: Result) -> None:
        """One more result."""
        self._count(result)
        if self._bar:
            self._bar.update(self._task, completed=self.count, description=self._text)
        elif self.count * 10 // self.total > (self.count - 1) * 10 // self.total:
            print(f"{self._text} {self.count}/{self.total}", flush=True)

    def _count(self, result: Result) -> None:
        self.count += 1
        self.correct += result.is_correct

    @property
    def _text(self) -> str:
        return f"{self.title} · {self.correct} correct"
