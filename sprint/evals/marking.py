"""What becomes of an answer: graded, and made into the record of a result.

It knows the run's settings and its scorer, not how the answer was come by or where the result is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Protocol

from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.evals.asking import Answer
from sprint.evals.config import EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.results import Result
from sprint.evals.scorers import Scorer, commonest_answer, scorer, source_name
from sprint.tasks import Grade

_SETTINGS = {"self-consistency": ("votes",), "sot-chat": ("points",), "sot-reasoning": ("points",)}


def sampling_of(config: EvalConfig) -> dict[str, Any]:
    """How answers are sampled: what all results of a run share beside their setup, in JSON's types."""
    names = ("method", "instruction", "top_p", "max_tokens", "mode", "dispatch", *_SETTINGS.get(config.method, ()))
    values = {name: getattr(config, name) for name in names}
    values |= {"seeds": list(config.sampling_seeds), "batch": config.batch, "rounds_here": bool(config.tokenizer)}
    values |= {"grader": config.grader} if config.grader != "box" else {}
    return values | ({"judge": config.judge.model} if config.judge.base_url else {})


class Solve(Protocol):
    """Whatever answers a question."""

    async def __call__(self, question: str, seed: int, /, *, timeline: bool) -> Answer: ...


class Marker:
    """Makes results. `model` is the name of who answers, once that is known."""

    def __init__(self, config: EvalConfig, model: str = "") -> None:
        self._config = config
        self._score: Scorer = scorer(config)
        self._plain_score: Scorer = scorer(config, judged=False)
        self._guess = commonest_answer(config.train_answers) if config.train_answers else None
        self._sampling = sampling_of(config)
        self.model = model

    def blank(self, job: Job) -> Result:
        """The result of a job before anything is known of it."""
        config = self._config
        return Result(
            id=job.sample.id,
            question=job.sample.question,
            gold=job.sample.answer,
            level=job.sample.level,
            subject=job.sample.subject,
            task=source_name(config),
            label=config.label or self.model,
            model=self.model,
            temperature=config.temperature,
            seed=config.seed,
            sample=job.number,
            sampling_seed=job.seed,
            sampling=self._sampling,
            concurrency=self._concurrency(job),
        )

    def _concurrency(self, job: Job) -> int:
        if self._config.batch:
            return self._config.engine.in_flight * self._config.engine.replicas
        return 1 if job.turn < self._config.alone else self._config.concurrency

    async def result(self, job: Job, solve: Solve) -> Result:
        """What comes of a job. Raises what ends the run: LLMUnavailable, ConfigError, and what the judge raises."""
        try:
            timeline = job.turn < self._config.timelines
            answer = await solve(job.sample.question, job.seed, timeline=timeline)
        except (LLMUnavailable, ConfigError):
            raise
        except (LLMError, InputError) as error:
            return await asyncio.to_thread(self.failed, job, str(error))
        return await asyncio.to_thread(self.marked, job, answer)  # the other answers shall not wait for the grader

    def failed(self, job: Job, error: str) -> Result:
        """The result of a call that failed."""
        return replace(self.blank(job), guess=self._guessed(job), error=error)

    def marked(self, job: Job, answer: Answer) -> Result:
        """The result of an answer. Comparing two formulas can take seconds, so call it beside an event loop."""
        keeps = self._config.reasoning
        score = self._score(job.sample, answer.text)
        return replace(
            self.blank(job),
            guess=self._guessed(job),
            grade=score.grade,
            grader=score.grader,
            other_grades=score.other_grades,
            method=answer.method,
            answer=answer.text,
            found=score.found,
            reasoning=answer.reasoning if keeps else "",
            usage=answer.usage,
            wall_s=answer.wall_s,
            stop_reason=answer.stop_reason,
            timeline=answer.timeline,
            calls=answer.calls,
        )

    def _guessed(self, job: Job) -> Grade | None:
        """What the majority guess is graded: without the judge, which nobody shall pay or wait for to hear of it."""
        return self._plain_score(job.sample, self._guess).grade if self._guess else None
