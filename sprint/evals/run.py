"""`sprint evaluate`: every problem through the solver and the scorer, and onto JSON lines.

A line is added as soon as it is known, so a run that stops can go on (`resume`) and loses no answer. At the end the
lines are put in order: problem by problem. It does not know how answers are sampled or what makes them right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from sprint.errors import LLMError
from sprint.evals.book import Book
from sprint.evals.budget import Stopped
from sprint.evals.config import EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.solvers import Solver, open_solver
from sprint.evals.summary import Summary

__all__ = ["Stopped", "evaluate"]


def evaluate(config: EvalConfig) -> Summary:
    """Ask, grade and write every answer; the summary of all of them.

    Raises InputError for a bad configuration or file, LLMUnavailable when the server goes away, and Stopped when a
    budget is used up: what was answered by then stands in the out file, and `resume` goes on from there.
    """
    return asyncio.run(_Evaluation(config).run())


class _Evaluation:
    """One run: who answers, and the book of what is known so far."""

    def __init__(
        self, config: EvalConfig, solver: Solver | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.config = config
        self.book = Book(config, clock)
        self.solver = solver or open_solver(config)

    async def run(self) -> Summary:
        """The whole run."""
        async with self.solver:
            self.book.open(await self.solver.find_model())
            with self.book:
                await self._ask()
        return self.book.close()

    async def _ask(self) -> None:
        """The first problems one at a time, then the rest beside each other."""
        alone = self.config.alone
        try:
            await self._work(iter(self.book.left(0, alone)))
            await self._side_by_side(iter(self.book.left(alone)))
        except ExceptionGroup as failures:
            raise self._plain(failures.exceptions[0]) from None
        except LLMError as failure:
            raise self._plain(failure) from None

    async def _side_by_side(self, queue: Iterable[Job]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.config.concurrency):
                group.create_task(self._work(queue))

    async def _work(self, queue: Iterable[Job]) -> None:
        """One of the workers that share the queue."""
        for job in queue:
            self.book.add(job, await self.book.marker.result(job, self.solver.solve))

    def _plain(self, first: Exception) -> Exception:
        if isinstance(first, LLMError):  # the server went away, or the judge does not say anything of use
            return type(first)(f"{first}; what was answered is kept in {self.config.out}, go on with --resume")
        return first
