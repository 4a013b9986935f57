"""`sprint evaluate --batch`: the problems go to engines on this Ray, the driver alone writes, as the results stream by.

Budgets, resuming and the file are those of any evaluation. It knows Ray Data, and not how an answer is come by.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines import dataset
from pipelines.evaluation.worker import Evaluator, job_text, window
from sprint.errors import ConfigError, InputError, LLMUnavailable
from sprint.evals.book import Book
from sprint.evals.config import BatchConfig, EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.results import Result
from sprint.evals.summary import Summary
from sprint.local_ray import ray_session

_DRIVER_CPUS = 1  # what Ray Data's own tasks need beside the engines


def evaluate_batch(config: EvalConfig) -> Summary:
    """Answer, grade and write everything; the summary.

    Raises InputError before anything is written for what cannot run, and Stopped when a budget is used up: what is
    answered then stands in the out file, and `resume` goes on from there; what was in flight is lost.
    """
    check(config)
    book = Book(config)
    book.open(config.model or Path(config.engine.model).resolve().name)
    with ray_session(_num_cpus(config.engine)), book:
        _check_resources(config.engine)
        try:
            _work(config, book)
        except LLMUnavailable as failure:
            raise LLMUnavailable(
                f"{failure}; what was answered is kept in {config.out}, go on with --resume"
            ) from failure
    return book.close()


def _work(config: EvalConfig, book: Book) -> None:
    jobs = {job.turn: job for job in book.left()}
    if not jobs:
        return
    with closing(_answered(list(jobs.values()), config, book.marker.model)) as rows:
        for row in rows:
            book.add(jobs[row["turn"]], Result.from_row(json.loads(row["line"]), "a worker's line"))
            if book.budget.exceeded:
                return


def _answered(jobs: list[Job], config: EvalConfig, model: str) -> Generator[dict[str, Any], None, None]:
    """Turn and line of each job, in the order in which they are done."""
    import ray

    engine = config.engine
    calls = -(-engine.in_flight // engine.batch_size)
    pool = ray.data.ActorPoolStrategy(
        size=engine.replicas, max_tasks_in_flight_per_actor=2 * calls, max_concurrent_calls_per_actor=calls
    )
    made = dataset.dataset([{"job": job_text(job)} for job in jobs], -(-len(jobs) // engine.batch_size))
    results = made.map_batches(
        Evaluator,
        fn_constructor_kwargs={"config": config.model_dump(), "model": model},
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=engine.num_cpus,
        num_gpus=engine.num_gpus,
    )
    for table in dataset.tables(results):
        yield from table.to_pylist()


def check(config: EvalConfig) -> None:
    """Raises InputError for what makes a batch impossible, without Ray."""
    folder = Path(config.engine.model)
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is not a model folder: it has no config.json", field="engine")
    window(config.engine)
    if config.alone:
        raise ConfigError("alone is of no use to a batch, whose answers share their engine", field="alone")


def _num_cpus(engine: BatchConfig) -> int | None:
    """Logical CPUs of a Ray started for this run: at least what its engines claim."""
    return max(os.cpu_count() or 1, int(engine.replicas * engine.num_cpus) + _DRIVER_CPUS)


def _check_resources(engine: BatchConfig) -> None:
    """Raises InputError when the engines could never start on the Ray there is."""
    import ray

    have = ray.cluster_resources()
    for name, each in (("CPU", engine.num_cpus), ("GPU", float(engine.num_gpus))):
        wanted = engine.replicas * each
        if wanted > have.get(name, 0):
            raise InputError(
                f"the engines claim {wanted:g} {name}s, and this Ray has {have.get(name, 0):g}", field="engine"
            )
