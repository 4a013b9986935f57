"""Shows how a long run goes: a bar where someone is watching, else a line every half minute.

Knows counts and seconds, not what the rows are.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LINE_EVERY_S = 30.0


def tell(sentence: str) -> None:
    """A sentence for whoever reads the log of a run, at once."""
    print(sentence, flush=True)


class Progress:
    """Counts rows, or what `unit` calls them, as they are done. A context.

    `done_before` are those of an earlier, killed run.
    """

    def __init__(self, title: str, num_rows: int, done_before: int = 0, unit: str = "rows") -> None:
        self._title, self._num_rows, self._before, self._unit = title, num_rows, done_before, unit
        self._done, self._kept, self._cost = done_before, 0, 0.0
        self._bar: Any = None
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._num_rows, completed=self._done, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def add(self, num_rows: int, num_kept: int, cost: float) -> None:
        """So many more rows are done."""
        self._done += num_rows
        self._kept += num_kept
        self._cost += cost
        if self._bar:
            self._bar.update(self._task, completed=self._done, note=self._note())
        elif time.monotonic() - self._said > _LINE_EVERY_S:
            self._said = time.monotonic()
            print(
                f"{self._title}: {self._done} of {self._num_rows} {self._unit}, {self._note()}",
                file=sys.stderr,
                flush=True,
            )

    def _note(self) -> str:
        since = self._done - self._before
        rate = since / max(time.monotonic() - self._began, 1e-9)
        left = (self._num_rows - self._done) / max(rate, 1e-9)
        kept = [f"{self._kept / max(since, 1):.0%} kept"] if self._unit == "rows" else []
        parts = [f"{rate:.0f} {self._unit}/s", *kept, f"{left / 60:.0f} min left"]
        return ", ".join(parts + ([f"cost {self._cost:.2f}"] if self._cost else []))


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    return Bar(*columns, transient=True, console=Console(stderr=True))
