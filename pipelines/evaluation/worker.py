"""What a process does that owns an engine: answers its share of the problems by the run's method, and grades them.

The methods are those that ask a server, over an engine in this very process; so a batch gives the lines that a server
would have given, but for the clocks. It knows no files of results.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.evaluation.ending import failure_text
from sprint.answers import same_answer
from sprint.benchmarks import Sample
from sprint.card import ModelCard
from sprint.errors import SprintError
from sprint.evals.config import BatchConfig, EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.marking import Marker
from sprint.evals.methods import get_method
from sprint.evals.rounds import EngineAsker, context_window
from sprint.evals.scorers import finder
from sprint.llm import LLM
from sprint.tokenizer import load_tokenizer

_KV_CACHE_BYTES = 256 << 20  # on CPU; on GPU vLLM takes what is free


class Evaluator:
    """An async actor of Ray Data.

    config  the run's configuration as plain values
    model   its name in the lines
    flag    an `ending.Flag` that says when to begin nothing new
    """

    def __init__(self, config: Mapping[str, Any], model: str, flag: Any = None) -> None:
        self._config = EvalConfig.model_validate(config)
        self._marker = Marker(self._config, model)
        self._method = get_method(self._config, same_answer, finder(self._config))
        folder = Path(self._config.engine.model)
        tokens = window(self._config.engine)
        llm = started(self._config.engine, tokens)
        self._asker = EngineAsker(llm, load_tokenizer(folder), ModelCard.load(folder), tokens, self._config)
        self._flag = flag

    async def __call__(self, batch: Any) -> Any:
        """A table of jobs in; out a table of their turns, and of each its result line or why the run has to end."""
        import pyarrow as pa

        stopped = self._flag is not None and await self._flag.is_raised.remote()
        jobs = [] if stopped else [job_of(text) for text in batch["job"].to_pylist()]
        ended = await asyncio.gather(*map(self._ended, jobs))
        columns = {name: pa.array([one[name] for one in ended], pa.string()) for name in ("line", "failure")}
        return pa.table({"turn": pa.array([job.turn for job in jobs], pa.int64()), **columns})

    async def _ended(self, job: Job) -> dict[str, str]:
        """What came of a job."""
        try:
            result = await self._marker.result(job, partial(self._method, self._asker))
        except SprintError as failure:
            return {"line": "", "failure": failure_text(failure)}
        return {"line": json.dumps(result.as_row(), ensure_ascii=False), "failure": ""}


def job_text(job: Job) -> str:
    """A job as it travels."""
    return json.dumps(asdict(job))


def job_of(text: str) -> Job:
    """The inverse of `job_text`."""
    values = json.loads(text)
    sample = values.pop("sample")
    return Job(**values, sample=Sample(**sample | {"options": tuple(sample["options"])}))


def window(engine: BatchConfig) -> int:
    """The context window of the engine. Raises ConfigError where it is not known."""
    return engine.context_tokens or context_window(Path(engine.model))


def started(engine: BatchConfig, context_tokens: int) -> LLM:
    """An engine in this process. Its environment must be set before vLLM is imported."""
    from sprint.vllm_llm import CPU_ENVIRONMENT, ENVIRONMENT, VLLM

    os.environ.update(ENVIRONMENT if engine.num_gpus else ENVIRONMENT | CPU_ENVIRONMENT)
    return VLLM(engine_args(engine, context_tokens))


def engine_args(engine: BatchConfig, context_tokens: int) -> dict[str, Any]:
    """The engine's arguments for vLLM, the configuration's own last."""
    from sprint.vllm_llm import CPU_ENGINE

    args: dict[str, Any] = {
        "model": str(Path(engine.model).resolve()),
        "max_model_len": context_tokens,
        "enable_prefix_caching": True,  # executors continue the planner's own tokens
        "disable_log_stats": True,
    }
    if not engine.num_gpus:
        args |= CPU_ENGINE | {"kv_cache_memory_bytes": _KV_CACHE_BYTES}
    elif engine.num_gpus > 1:
        args |= {"tensor_parallel_size": engine.num_gpus, "distributed_executor_backend": "mp"}
    return args | engine.engine_kwargs
