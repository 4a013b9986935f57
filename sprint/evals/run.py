"""`sprint evaluate`: every sample through the solver and the scorer, and onto one JSON line.

A line is appended as soon as it is known, so a run that stops can go on (`resume`) and loses no answer. At the end the
lines are put in the order of the problems. It does not know how answers are sampled or what makes them right.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from sprint.errors import ConfigError, InputError, LLMError, LLMTimeout, LLMUnavailable
from sprint.evals.config import EvalConfig
from sprint.evals.progress import Progress
from sprint.evals.results import Result, read_results
from sprint.evals.scorers import Sample, Scorer, commonest_answer, samples, scorer
from sprint.evals.solvers import Answer, HttpSolver
from sprint.evals.summary import Summary, summarise
from sprint.evals.table import print_table
from sprint.files import write_jsonl
from sprint.tasks import Grade


def evaluate(config: EvalConfig) -> Summary:
    """Ask, grade and write every sample; the summary of all of them.

    Raises InputError for a bad configuration or file, and LLMUnavailable when the server goes away: what was answered
    by then stands in the out file, and `resume` goes on from there.
    """
    return asyncio.run(_Evaluation(config).run())


class _Evaluation:
    """One run: its samples, what is known of them so far, and the file that holds it."""

    def __init__(self, config: EvalConfig, solver: HttpSolver | None = None) -> None:
        if config.out.exists() and not config.resume:
            raise ConfigError(f"{config.out} already exists: go on with --resume, or choose another --out", field="out")
        self.config = config
        self.samples: list[Sample] = samples(config)
        self.grade: Scorer = scorer(config)
        self.guess = commonest_answer(config.train_answers) if config.train_answers else None
        self.solver = solver or HttpSolver(config)
        self.results: dict[str, Result] = {}

    async def run(self) -> Summary:
        async with self.solver:
            await self.solver.find_model()
            self.results = self._resumed()
            await self._ask([sample for sample in self.samples if sample.id not in self.results])
        results = [self.results[sample.id] for sample in self.samples]
        if not any(result.usage for result in results):
            raise LLMError(f"no problem was answered; the first failure: {results[0].error}")
        write_jsonl(self.config.out, (result.as_row() for result in results))
        summary = summarise(results)
        print_table([summary])
        return summary

    async def _ask(self, left: list[Sample]) -> None:
        """The first problems one at a time, then the rest beside each other."""
        numbered = list(enumerate(left))
        alone = max(0, self.config.alone - len(self.results))
        self.config.out.parent.mkdir(parents=True, exist_ok=True)
        with Progress(self._title, len(self.samples), done=self.results.values()) as progress:
            try:
                await self._work(iter(numbered[:alone]), progress, in_flight=1)
                await self._side_by_side(numbered[alone:], progress)
            except ExceptionGroup as failures:
                raise _plain(failures.exceptions[0], self.config.out) from None
            except LLMUnavailable as failure:
                raise _plain(failure, self.config.out) from None

    async def _side_by_side(self, numbered: list[tuple[int, Sample]], progress: Progress) -> None:
        queue = iter(numbered)
        in_flight = self.config.concurrency
        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, len(numbered))):
                group.create_task(self._work(queue, progress, in_flight))

    @property
    def _title(self) -> str:
        return f"{self.config.task or self.config.data} · {self.config.label or self.solver.model}"

    async def _work(self, queue: Iterable[tuple[int, Sample]], progress: Progress, in_flight: int) -> None:
        """One of the workers that share the queue."""
        for number, sample in queue:
            result = await self._one(sample, timeline=number < self.config.timelines)
            result = replace(result, concurrency=in_flight)
            self.results[sample.id] = result
            append_line(self.config.out, result.as_row())
            progress.add(result)

    async def _one(self, sample: Sample, *, timeline: bool) -> Result:
        guess = self.grade(sample, self.guess) if self.guess else None
        try:
            answer = await self.solver.solve(sample.question, timeline=timeline)
        except LLMUnavailable:
            raise
        except (LLMError, LLMTimeout, InputError) as error:
            return self._result(sample, guess, error=str(error))
        # Comparing two formulas can take seconds; the other requests shall not wait for it.
        grade = await asyncio.to_thread(self.grade, sample, answer.text)
        return self._result(sample, guess, answer, grade)

    def _result(
        self,
        sample: Sample,
        guess: Grade | None,
        answer: Answer | None = None,
        grade: Grade | None = None,
        error: str = "",
    ) -> Result:
        config = self.config
        measured = {
            "method": answer.method,
            "answer": answer.text,
            "reasoning": answer.reasoning,
            "usage": answer.usage,
            "wall_s": answer.wall_s,
            "stop_reason": answer.stop_reason,
            "timeline": answer.timeline,
        } if answer else {}  # fmt: skip
        return Result(
            id=sample.id,
            question=sample.question,
            gold=sample.answer,
            task=config.task or str(config.data),
            label=config.label or self.solver.model,
            model=self.solver.model,
            temperature=config.temperature,
            seed=config.seed,
            grade=grade,
            guess=guess,
            error=error,
            **measured,  # type: ignore[arg-type]
        )

    def _resumed(self) -> dict[str, Result]:
        """What an earlier run of the same setup answered. Failed samples are asked again."""
        if not (self.config.resume and self.config.out.exists()):
            return {}
        drop_broken_end(self.config.out)
        if not self.config.out.stat().st_size:
            return {}
        earlier = read_results(self.config.out)
        mine = self._result(self.samples[0], None).setup
        if earlier[0].setup != mine:
            raise ConfigError(
                f"{self.config.out} holds another run {earlier[0].setup}, expected {mine}", field="resume"
            )
        known = {sample.id for sample in self.samples}
        kept = {result.id: result for result in earlier if result.id in known and result.usage}
        write_jsonl(self.config.out, (result.as_row() for result in kept.values()))
        return kept


def append_line(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON line in a single write."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def drop_broken_end(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)


def _plain(first: Exception, out: Path) -> Exception:
    if isinstance(first, LLMUnavailable):
        return LLMUnavailable(f"{first}; what was answered is kept in {out}, go on with --resume")
    return first
