"""Annotator `vllm`: offline batches on this Ray's own engines, through `ray.data.llm`.

A conversation has up to four requests, and two engine pools at once would take twice the GPUs. So the rows are gone
over in passes: each pass makes the next request of every row that has one, and keeps the replies. When no row has one
left, the rows are curated by replaying them. What was answered before a run was killed is never asked again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipelines import dataset
from pipelines.config import EngineConfig
from pipelines.progress import Progress
from pipelines.record import replies as reply_store
from pipelines.record.checkpoint import Checkpoint
from pipelines.record.store import Store
from pipelines.worker import Job, Settings, pending_requests
from sprint.nodes import await_room
from sprint.requests import AnnotationUsage, Reply, RequestFailed
from sprint.rows import writable

_MOST_PASSES = 8  # a conversation has four requests; more passes mean that replies are not found again
_CPU_STAGES = 6  # chat template, tokenizer, engine, detokenizer and the reading hold a CPU each
_CPU_ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
_CPU_ENGINE = {"enforce_eager": True, "block_size": 32, "kv_cache_memory_bytes": 256 << 20}


def ask_all(
    jobs: Callable[[], Sequence[Job]],
    settings: Settings,
    engine: EngineConfig,
    store: Store,
    every_s: float,
    tell: Callable[[str], None],
) -> None:
    """Asks until no row has a request left; the replies are in `store`. `jobs` gives the jobs with what is known."""
    for number in range(1, _MOST_PASSES):
        found = jobs()
        waiting = _waiting(found, settings)
        count = sum(waiting.values())
        if not count:
            return
        tell(f"pass {number}: {count} requests")
        todo = [job for index, job in enumerate(found) if index in waiting]
        kept_replies = Checkpoint(store, every_s, reply_store.FOLDER, "digest")
        progress = Progress(f"pass {number}", count, unit="replies")
        with kept_replies as checkpoint, progress, dataset.on_nodes(engine.nodes):
            for table in _answered(todo, settings, engine):
                checkpoint.add(table)
                progress.add(len(table), 0, 0.0)
    raise AssertionError("replies that were kept are not found again")


def _dataset(jobs: Sequence[Job]) -> Any:
    return dataset.dataset([{"index": index, "job": job.dumps()} for index, job in enumerate(jobs)])


def _waiting(jobs: Sequence[Job], settings: Settings) -> dict[int, int]:
    """How many requests each job has left, by its index."""
    if not jobs:
        return {}
    counted = _dataset(jobs).map_batches(
        count_requests, fn_kwargs={"settings": settings}, batch_size=1, batch_format="pyarrow", num_cpus=0.5
    )
    rows = (row for table in dataset.tables(counted) for row in table.to_pylist())
    return {row["index"]: row["count"] for row in rows if row["count"]}


def count_requests(batch: Any, settings: Settings) -> Any:
    """A Ray Data function: for a job, how many requests it has left."""
    import pyarrow as pa

    count = len(pending_requests(batch, settings))
    return pa.table({"index": batch["index"].cast(pa.int64()), "count": pa.array([count], pa.int64())})


def _answered(jobs: Sequence[Job], settings: Settings, engine: EngineConfig) -> Iterator[Any]:
    """Tables of kept replies, as they come."""
    requests = _dataset(jobs).map_batches(
        pending_requests, fn_kwargs={"settings": settings}, batch_size=1, batch_format="pyarrow", num_cpus=0.5
    )
    replies = _processor(engine)(requests.repartition(target_num_rows_per_block=engine.batch_size))
    yield from dataset.tables(replies.map_batches(kept, batch_format="pyarrow", num_cpus=0.25))


def _processor(engine: EngineConfig) -> Any:
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    # In one process group on one node Ray Data places a replica itself, and knows labels; Ray's groups know none.
    placed = {"distributed_executor_backend": "mp"} if engine.nodes and _gpus(engine) > 1 else {}
    cpu: dict[str, Any] = {"runtime_env": {"env_vars": _CPU_ENVIRONMENT}} if engine.cpu else {}
    config = vLLMEngineProcessorConfig(
        model_source=engine.model,
        engine_kwargs=(_CPU_ENGINE if engine.cpu else {}) | placed | engine.engine_kwargs,
        concurrency=(engine.replicas, engine.replicas),
        batch_size=engine.batch_size,
        accelerator_type=engine.accelerator,
        placement_group_config=engine.placement_group or ({"bundles": [{"CPU": 1}]} if engine.cpu else None),
        should_continue_on_error=True,  # one request that is too long must not take its batch along
        log_engine_metrics=False,
        **cpu,
    )
    return build_processor(config, preprocess=_asked(engine), postprocess=lambda row: row)


def _asked(engine: EngineConfig) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the engine is given for a request."""

    def preprocess(row: dict[str, Any]) -> dict[str, Any]:
        sampling: dict[str, Any] = {"temperature": engine.temperature, "max_tokens": int(row["max_tokens"])}
        if engine.structured and row["schema"]:
            sampling["structured_outputs"] = {"json": row["schema"]}
        return {**row, "messages": list(row["messages"]), "sampling_params": sampling}

    return preprocess


def kept(batch: Any) -> Any:
    """A Ray Data function: what the engine gave, good or not, as replies to keep."""
    import pyarrow as pa

    rows = [
        reply_store.reply_values(values["digest"], values["key"], values["purpose"], _read(values))
        for values in batch.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=reply_store.reply_schema())


def _read(values: Mapping[str, Any]) -> Reply | RequestFailed:
    """What the engine gave for one request. What cannot be read costs that request, not the batch around it."""
    try:
        return _reply(values)
    except Exception as error:
        return RequestFailed(f"{type(error).__name__}: {error}", AnnotationUsage(num_failures=1))


def _reply(values: Mapping[str, Any]) -> Reply | RequestFailed:
    if error := values.get("__inference_error__"):
        return RequestFailed(" ".join(error.split())[:300], AnnotationUsage(num_failures=1))
    num_output = int(values["num_generated_tokens"])
    usage = AnnotationUsage(
        num_calls=1,
        prompt_tokens=int(values["num_input_tokens"]),
        cached_tokens=None,  # the processor does not say
        output_tokens=num_output,
        seconds=float(values["time_taken_llm"]),
    )
    return Reply(writable(values["generated_text"]), num_output >= int(values["max_tokens"]), usage)


def check(engine: EngineConfig, nodes: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Raises ConfigError when the engines could never start on the Ray there is; `say` hears what is waited for."""
    claims = {"CPU": float(_CPU_STAGES)} if engine.cpu else {"GPU": float(engine.replicas * _gpus(engine))}
    await_room(nodes, claims, "the engines", say, "num_cpus" if engine.cpu else "engine")


def _gpus(engine: EngineConfig) -> int:
    sizes = (engine.engine_kwargs.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline"))
    return math.prod(int(size) for size in sizes)


def num_cpus(given: int | None) -> int | None:
    """Logical CPUs of a Ray started for this annotator: at least what its stages hold."""
    return given or max(_CPU_STAGES, os.cpu_count() or 1)
