"""`sprint generate`: a task's teacher writes traces, as the pipeline reads them. It knows no pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from pydantic import Field

from sprint.config import StrictModel
from sprint.files import write_jsonl
from sprint.tasks import Split, get_task


class GenerateConfig(StrictModel):
    """Which traces to write. They are of the training split: `sprint evaluate` never poses their problems."""

    task: str = Field(description="chains or countdown")
    out: Path = Field(description="JSONL file to write")
    n: int = Field(5000, ge=1, description="how many traces")
    seed: int = Field(0, description="which problems")
    task_options: dict[str, int] = Field(default_factory=dict, description="the task's own settings")


def generate(config: GenerateConfig) -> int:
    """Write the traces; their number. Raises InputError for an unknown task or when it has too few problems."""
    write_jsonl(config.out, _rows(config))
    print(f"{config.n} {config.task} traces: {config.out}")
    return config.n


def _rows(config: GenerateConfig) -> Iterator[dict[str, object]]:
    task = get_task(config.task, **config.task_options)
    for problem in islice(task.problems(Split.TRAIN, config.seed), config.n):
        yield asdict(task.teach(problem, config.seed))
