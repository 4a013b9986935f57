"""`sprint evaluate --batch`: the problems go to engines on this Ray, the driver alone writes, as the results stream by.

Budgets, resuming and the file are those of any evaluation. It knows Ray Data, and not how an answer is come by.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines import dataset
from pipelines.evaluation.ending import failure_of, open_flag
from pipelines.evaluation.worker import Evaluator, job_text, window
from pipelines.progress import tell
from sprint.errors import ConfigError, LLMError
from sprint.evals.book import Book
from sprint.evals.config import BatchConfig, EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.results import Result
from sprint.evals.summary import Summary
from sprint.local_ray import ray_session
from sprint.nodes import await_room

_DRIVER_CPUS = 1  # what Ray Data's own tasks need beside the engines


def evaluate_batch(config: EvalConfig) -> Summary:
    """Answer, grade and write everything; the summary.

    Raises InputError before anything is written for what cannot run, LLMError when the engines or the judge fail, and
    Stopped when a budget is used up: what was answered or in flight then stands in the out file, and `resume` goes on
    from there.
    """
    check(config)
    book = Book(config)
    book.open(config.model or Path(config.engine.model).resolve().name)
    with ray_session(_num_cpus(config.engine)), dataset.on_nodes(config.nodes), book:
        await_room(config.nodes, _claims(config.engine), "the engines", tell, "engine")
        try:
            _work(config, book)
        except LLMError as failure:
            kept = f"what was answered is kept in {config.out}, go on with --resume"
            raise type(failure)(f"{failure}; {kept}") from None
    return book.close()


def _work(config: EvalConfig, book: Book) -> None:
    jobs = {job.turn: job for job in book.left()}
    if not jobs:
        return
    stop, failure = _Stop(config), ""
    with closing(_answered(list(jobs.values()), config, book.marker.model, stop.flag)) as rows:
        for row in rows:
            failure = failure or row["failure"]
            job = jobs.pop(row["turn"], None) if row["line"] else None
            if job:  # a block that Ray did again comes twice
                book.add(job, Result.from_row(json.loads(row["line"]), "a worker's line"))
            if jobs and (failure or book.budget.exceeded):
                stop.once()
    if failure:
        raise failure_of(failure)


class _Stop:
    """Lets the workers finish what they are at, and begin nothing more."""

    def __init__(self, config: EvalConfig) -> None:
        self.flag = open_flag()
        self._out, self._is_said = config.out, False

    def once(self) -> None:
        if not self._is_said:
            self._is_said = True
            self.flag.set.remote()
            print(f"stopping: what is in flight still goes to {self._out}", file=sys.stderr, flush=True)


def _answered(jobs: list[Job], config: EvalConfig, model: str, flag: Any) -> Generator[dict[str, Any], None, None]:
    """Turn and line (or failure) of each job, in the order in which they are done."""
    import ray

    engine = config.engine
    calls = -(-engine.in_flight // engine.batch_size)
    pool = ray.data.ActorPoolStrategy(
        size=engine.replicas, max_tasks_in_flight_per_actor=2 * calls, max_concurrent_calls_per_actor=calls
    )
    made = dataset.dataset([{"job": job_text(job)} for job in jobs], -(-len(jobs) // engine.batch_size))
    results = made.map_batches(
        Evaluator,
        fn_constructor_kwargs={"config": config.model_dump(), "model": model, "flag": flag},
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


def _claims(engine: BatchConfig) -> dict[str, float]:
    """What the engines take together."""
    each = {"CPU": engine.num_cpus, "GPU": float(engine.num_gpus)}
    return {name: engine.replicas * amount for name, amount in each.items() if amount}
