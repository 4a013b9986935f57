"""Looks at a model while it trains: asks it held-out problems, with the engine, on the weights as they are (`check`).

Rank 0 asks and the other workers wait. Weights, gradients and random numbers are left as they were. It knows the engine
and tasks; nothing of steps or optimizers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from sprint.answers import last_boxed
from sprint.card import ModelCard
from sprint.errors import ConfigError, InputError
from sprint.options import EngineOptions, View
from sprint.render import Prompter
from sprint.tasks import Problem, Split, Task, get_task
from sprint.tokenizer import HFTokenizer
from sprint.types import ExecutionOutcome, PlanOutcome, Rollout, StopReason
from train.config import TrainConfig
from train.options import CheckConfig


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found, over its problems.

    problems           how many were asked
    format             share whose text keeps to the format: see `is_well_formed`
    accuracy           share answered right
    sequential_tokens  mean pipelined tokens; for a sequential model, its tokens
    generated_tokens   mean of all that was sampled
    """

    problems: int
    format: float
    accuracy: float
    sequential_tokens: float
    generated_tokens: float


def check_settings(config: TrainConfig) -> None:
    """See before anything runs that the checks can be made. Raises ConfigError in one sentence."""
    if config.check.every is None:
        return
    if config.zero_stage == 3:
        message = "check: under zero_stage 3 no worker holds all weights, expected zero_stage 0 to 2 or no check.every"
        raise ConfigError(message, field="check")
    chosen_problems(config.check, config.task)


def chosen_problems(check: CheckConfig, default_task: str) -> tuple[Task, list[Problem]]:
    """The task and its first held-out problems. Raises ConfigError for a task or options that do not exist."""
    name = check.task or default_task
    try:
        task = get_task(name, **check.task_options)
        problems = list(islice(task.problems(Split.TEST), check.problems))
    except InputError as error:
        raise ConfigError(f"check: {error}", field="check") from None
    return task, problems


class FormatCheck:
    """The checks of one worker: of all workers each has one, and rank 0's does the work."""

    def __init__(self, config: TrainConfig, start: str, card: ModelCard, rank: int) -> None:
        self.every = config.check.every or 1
        self._check, self._rank = config.check, rank
        self._task, self._problems = chosen_problems(config.check, config.task)
        tokenizer = HFTokenizer(start)
        self._prompter = Prompter(tokenizer, card)

    def look(self, lm: Any) -> dict[str, Any]:
        """All workers: what rank 0 finds, as a metrics line holds it; {} for the others, once it has found it."""
        import torch

        found: dict[str, Any] = {}
        if self._rank == 0:
            rollouts = ask(lm, self._prompter, [p.question for p in self._problems], self._check.max_tokens)
            found = asdict(summary(self._task, self._problems, rollouts))
        torch.distributed.barrier()
        return found


def ask(
    lm: Any,
    prompter: Prompter,
    questions: Sequence[str],
    max_tokens: int,
    at_once: int = 64,
    view: View = View.PREFIX,
) -> list[Rollout]:
    """Greedy rollouts of a `transformers` model, all in one go. `lm` is left in the mode it was in."""
    from sprint.engine import Engine
    from train.hf_llm import HFLLM

    context = int(lm.config.max_position_embeddings)
    options = EngineOptions(temperature=0.0, max_tokens=max_tokens, view=view)

    async def all_of_them() -> list[Rollout]:
        llm = HFLLM(lm, prompter.tokenizer, context, at_once)
        engine = Engine(llm, llm, prompter, context)
        return list(await asyncio.gather(*(engine.run(question, options) for question in questions)))

    with _for_reading(lm):
        return asyncio.run(all_of_them())


@contextmanager
def _for_reading(lm: Any) -> Iterator[None]:
    """The model without dropout, and with attention that takes a mask of any form."""
    training, attention = lm.training, lm.config._attn_implementation
    lm.eval()
    lm.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        lm.set_attn_implementation(attention)
        lm.train(training)


def is_well_formed(rollout: Rollout) -> bool:
    """Whether the text keeps to its method's format: it closed a final answer that boxes something, by itself.

    In rounds, every plan and every execution was closed as well, and nothing was left out.
    """
    if rollout.stop_reason is not StopReason.ANSWERED or rollout.detail or last_boxed(rollout.answer_text) is None:
        return False
    closed = {"plan": PlanOutcome.CLOSED, "execution": ExecutionOutcome.COMPLETED}
    calls = [span for span in rollout.timeline if span.kind in closed]
    rounds = rollout.trajectory.rounds if rollout.trajectory else ()
    return len(calls) == sum(1 + len(round.executions) for round in rounds) and all(
        span.outcome == closed[span.kind] for span in calls
    )


def summary(task: Task, problems: Sequence[Problem], rollouts: Sequence[Rollout]) -> Found:
    """What the rollouts say about the model."""
    graded = [task.grade(problem, rollout.answer_text) for problem, rollout in zip(problems, rollouts, strict=True)]
    return Found(
        len(problems),
        fmean(map(is_well_formed, rollouts)),
        fmean(grade.is_correct for grade in graded),
        fmean(rollout.usage.pipelined_tokens for rollout in rollouts),
        fmean(rollout.usage.generated_tokens for rollout in rollouts),
    )
