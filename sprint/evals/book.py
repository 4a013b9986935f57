"""The book of a run: what there is to do, what is known, what it has cost, and how far it is.

It is the same whoever answers, one by one or in batches. It knows results and their file, and nothing of models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from sprint.errors import ConfigError, LLMError
from sprint.evals.budget import Budget, Stopped
from sprint.evals.config import EvalConfig
from sprint.evals.jobs import Job, Plan
from sprint.evals.marking import Marker
from sprint.evals.progress import Progress
from sprint.evals.record import Record
from sprint.evals.results import Result
from sprint.evals.scorers import samples, source_name
from sprint.evals.summary import Summary, summarise
from sprint.evals.table import print_table
from sprint.files import read_jsonl
from sprint.locks import sole_writer


class Book:
    """One run's book. `open` it, use it as a context manager while answers come, then `close` it."""

    def __init__(self, config: EvalConfig, clock: Callable[[], float] = time.perf_counter) -> None:
        if config.out.exists() and not config.resume:
            raise ConfigError(f"{config.out} already exists: go on with --resume, or choose another --out", field="out")
        self.config = config
        self.plan = Plan(samples(config), config.sampling_seeds, config.samples)
        self.marker = Marker(config)
        self.budget = Budget(config, clock)
        self._record = Record(config.out, len(self.plan))
        self._progress = Progress("", len(self.plan), budget=self.budget, clock=clock)
        self._first_error = ""
        self._mine = ExitStack()

    def open(self, model: str) -> None:
        """Begin, with `model` answering. Raises ConfigError when the out file holds another run.

        From here on nobody else may write the out file; SprintError when somebody does.
        """
        config = self.config
        self.marker.model = model
        self._progress.title = f"{source_name(config)} · {config.label or model}"
        with ExitStack() as mine:
            mine.enter_context(sole_writer(config.out))
            if config.resume and config.out.exists():
                places = self.plan.places()
                self._record.resume(lambda row, number: self._known(row, number, places))
            self._mine = mine.pop_all()

    def __enter__(self) -> Book:
        self._progress.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._progress.__exit__(*problem)
        self._record.__exit__()
        if problem[0] is not None:
            self._mine.close()

    def left(self, first: int = 0, last: int | None = None) -> Iterator[Job]:
        """The jobs from turn `first` to before `last` that are not done. Ends early when a budget is used up."""
        for turn in range(first, min(len(self.plan), len(self.plan) if last is None else last)):
            if self.budget.exceeded:
                return
            job = self.plan[turn]
            if job.place not in self._record:
                yield job

    def add(self, job: Job, result: Result) -> None:
        """One more result; when this returns, it is in the file."""
        self._record.add(job.place, result.as_row())
        self._count(result)

    def _count(self, result: Result) -> None:
        self.budget.add(result)
        self._progress.add(result)
        self._first_error = self._first_error or result.error

    def _known(self, row: dict[str, Any], number: int, places: dict[tuple[str, int], int]) -> int | None:
        """Where the line of an earlier run stands; None for a failed one, which is asked again."""
        result, out = Result.from_row(row, f"{self.config.out} line {number}"), self.config.out
        mine = self.marker.blank(self.plan[0])
        for theirs, ours in ((result.setup, mine.setup), (result.sampling, mine.sampling)):
            if theirs and theirs != ours:
                raise ConfigError(f"{out} holds another run {theirs}, expected {ours}", field="resume")
        place = places.get((result.id, result.sample))
        self._check_problem(result, place)
        if place is None:
            what = f"answer {result.sample} to problem {result.id!r}"
            raise ConfigError(
                f"{out} holds {what}, which this run does not ask for: raise n or samples", field="resume"
            )
        if result.usage is None or place in self._record:
            return None
        self.budget.add(result)
        self._progress.resumed(result)
        return place

    def _check_problem(self, result: Result, place: int | None) -> None:
        """Raises ConfigError where an id stands for another problem by now: other data, or other task options."""
        if place is None:
            return
        sample = self.plan[self.plan.turn_of(place)].sample
        if (result.question, result.gold) != (sample.question, sample.answer):
            said = f"{self.config.out} holds another problem {result.id!r} than the one that is posed now"
            raise ConfigError(f"{said}: expected the same data, columns and task options", field="resume")

    def close(self) -> Summary:
        """Put the file in order; the summary. Raises Stopped when something is left, LLMError when nothing came."""
        with self._mine:
            self._record.finish()
        stopped, left = self.budget.exceeded, self._progress.left
        if stopped and left:
            raise Stopped(f"{stopped} and --resume: {left} of {len(self.plan)} answers are left ({self.config.out})")
        results = [_slim(Result.from_row(row, str(self.config.out))) for row in read_jsonl(self.config.out)]
        if not any(result.usage for result in results):
            raise LLMError(f"no problem was answered; the first failure: {self._first_error}")
        summary = summarise(results)
        print_table([summary])
        return summary


def _slim(result: Result) -> Result:
    """What a summary needs of a result: texts would take the memory of all of them."""
    return replace(result, question="", reasoning="", timeline=(), calls=(), sampling={})
