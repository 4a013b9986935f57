"""Keeps a run that costs money in hand: how much of the work may go out at once, and when to stop.

Stopping leaves a run that can be resumed. Knows costs and failures of rows, not how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.config import CurateConfig
from pipelines.worker import Job
from sprint.errors import SprintError

_CAREFUL = 0.9  # rows differ, so a wave is made a little smaller than the mean cost allows


class Stopped(SprintError):
    """The run was stopped on purpose, and can be resumed; the message says why and how."""


@dataclass
class Budget:
    """Counts what rows cost, and the failures in a row. `cost` is what the run has cost before."""

    config: CurateConfig
    cost: float = 0.0
    _spent: float = field(default=0.0, init=False)
    _rows: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)

    def waves(self, jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
        """The jobs, all at once; with a limit to the cost, in waves that the rest of it is expected to pay for.

        A wave is finished and recorded before the next begins, so what has been paid for is kept. Raises Stopped
        before a wave that cannot be afforded.
        """
        if self.config.max_cost is None:
            yield jobs
            return
        left = list(jobs)
        while left:
            size = max(1, self._affordable_rows() // self.config.task_rows)
            wave, left = left[:size], left[size:]
            yield wave

    def _affordable_rows(self) -> int:
        assert self.config.max_cost is not None
        assert self.config.endpoint is not None
        rest = self.config.max_cost - self.cost
        per_row = self._spent / self._rows if self._rows else 0.0
        if rest <= per_row * self.config.task_rows / 2:
            message = f"the calls have cost {self.cost:.4g} of at most {self.config.max_cost:g}"
            raise Stopped(f"{message}: go on with --resume and a higher --max-cost")
        if not per_row:
            return self.config.endpoint.concurrency  # nothing is known yet
        return int(_CAREFUL * rest / per_row)

    def spend(self, cost: float, num_rows: int) -> None:
        """So many rows have cost so much."""
        self.cost += cost
        self._spent += cost
        self._rows += num_rows

    def check_failures(self, failures: Sequence[str]) -> None:
        """Takes for each row why its requests failed, or "". Raises Stopped when too many in a row did."""
        for detail in failures:
            self._failed = self._failed + 1 if detail else 0
            if self._failed >= self.config.max_failed_in_a_row:
                message = f"the requests of {self._failed} rows in a row have failed, the last since {detail}"
                raise Stopped(f"{message}: go on with --resume --retry-failed when the endpoint works again")
