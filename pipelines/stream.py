"""The jobs of a run on Ray Data: who does them, how many at once.

Gives back tables of the record as they are done, in any order. Knows no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines import dataset
from pipelines.config import CurateConfig
from pipelines.worker import EndpointWorker, Job, Settings, curate_by_replies, curate_by_rules, num_actors
from sprint.types import DropReason


def curated(jobs: Sequence[Job], config: CurateConfig, settings: Settings) -> Iterator[Any]:
    """Tables of finished rows."""
    if jobs:
        made = dataset.dataset([{"job": job.dumps()} for job in jobs])
        yield from dataset.tables(made.map_batches(**_by(config, settings)))


def _by(config: CurateConfig, settings: Settings) -> dict[str, Any]:
    """What maps the jobs: tasks, or for an endpoint a few processes with many requests in flight each."""
    common = {"batch_size": 1, "batch_format": "pyarrow"}
    if config.annotator != "openai":
        function = curate_by_rules if config.annotator == "rules" else curate_by_replies
        return common | {"fn": function, "fn_kwargs": {"settings": settings}, "num_cpus": config.cpus_per_task}
    import ray

    assert config.endpoint is not None
    actors = num_actors(config.endpoint)
    each = -(-config.endpoint.concurrency // actors)
    # Twice the rows that can be asked about at once, so that a finished one is followed without a pause.
    tasks = max(2, -(-2 * each // config.task_rows))
    pool = ray.data.ActorPoolStrategy(
        size=actors, max_tasks_in_flight_per_actor=tasks, max_concurrent_calls_per_actor=tasks
    )
    endpoint = config.endpoint.model_dump() | {"concurrency": each}
    told = {"settings": settings, "endpoint": endpoint, "num_actors": actors, "key": config.endpoint.api_key}
    return common | {"fn": EndpointWorker, "fn_constructor_kwargs": told, "compute": pool, "num_cpus": 0.25}


def kept_in(table: Any) -> int:
    """How many rows of a table are kept."""
    return int(table.column("reason").null_count)


def failures(table: Any) -> list[str]:
    """For each row of a table, why its requests failed, or `""`."""
    reasons, details = (table.column(name).to_pylist() for name in ("reason", "detail"))
    pairs = zip(reasons, details, strict=True)
    return [detail if reason == DropReason.REQUEST_FAILED else "" for reason, detail in pairs]
