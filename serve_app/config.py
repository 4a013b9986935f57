"""What can be configured about serving: the application, its pools of engines, the address it is served at.

It knows neither Ray nor vLLM: a mistake is reported within a second, not after an engine has failed to start.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from serve_app.api.http_config import HttpConfig
from sprint.config import Nodes, StrictModel, validate
from sprint.errors import ConfigError, InputError
from sprint.files import read_json
from sprint.http_llm import Dialect

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
SHARED, PLANNER, EXECUTOR = "model", "planner", "executor"  # the pools' names


class EndpointConfig(StrictModel):
    """A server elsewhere that stands in for a pool.

    base_url     where it is, with or without a trailing /v1
    model        the name that the server knows the model by
    api_key_env  the environment variable of the planner that holds its key; empty: it asks for none
    dialect      `vllm` (token ids in and out) or `openai` (text only)
    timeout_s    longest silence between two pieces of an answer
    """

    base_url: str
    model: str
    api_key_env: str = ""
    dialect: Dialect = Dialect.VLLM
    timeout_s: float = Field(default=300.0, gt=0)


class PoolConfig(StrictModel):
    """A pool of engines with one model.

    model                    a Hugging Face model folder, with `sprint.json` where the model was trained by this
                             project; of an endpoint's model, the tokenizer is enough
    context_tokens           the context window; by default what the model's config.json says
    num_gpus                 GPUs of one replica; 0 serves on CPU. With tensor parallelism, as many as it spans
    nodes                    labels of the nodes that replicas run on, e.g. sprint/pool=gpu; empty: any
    min_replicas             fewest replicas
    max_replicas             how far the pool may scale out
    initial_replicas         replicas at the start; by default the fewest
    target_ongoing_requests  calls in flight per replica that autoscaling aims at
    upscale_delay_s          seconds of more load than that before a replica is added
    downscale_delay_s        seconds of less load than that before a replica is taken away
    surge_percent            replicas beyond those wanted that an upgrade may start before it stops old ones, as a share
                             of them; 0: it stops one first, for a cluster without a node or GPU to spare
    max_num_seqs             most calls one engine decodes at once; more wait in its queue
    max_ongoing              most calls one replica takes, those in its engine's queue included
    max_queued               most calls that wait in one planner for a replica; beyond, they are refused
    spill_over_margin        calls by which a replica may be busier than the least busy and still get what shares its
                             prefixes; beyond, a call goes elsewhere
    kv_cache_mib             memory for the KV cache on CPU; on GPU vLLM takes what is free
    engine                   further vLLM engine arguments, on top of everything this project sets
    endpoint                 a server elsewhere that stands in for the pool
    """

    model: Path
    context_tokens: int | None = Field(default=None, ge=16)
    num_gpus: int = Field(default=0, ge=0)
    nodes: Nodes = Field(default_factory=dict)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    initial_replicas: int | None = Field(default=None, ge=1)
    target_ongoing_requests: int = Field(default=32, ge=1)
    upscale_delay_s: float = Field(default=10.0, ge=0)
    downscale_delay_s: float = Field(default=300.0, ge=0)
    surge_percent: int = Field(default=100, ge=0, le=100)
    max_num_seqs: int = Field(default=64, ge=1)
    max_ongoing: int = Field(default=4096, ge=1)
    max_queued: int = Field(default=8192, ge=1)
    spill_over_margin: int = Field(default=16, ge=0)
    kv_cache_mib: int = Field(default=256, ge=8)
    engine: dict[str, Any] = Field(default_factory=dict)
    endpoint: EndpointConfig | None = None

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas is {self.min_replicas}, more than max_replicas ({self.max_replicas})")
        if not self.min_replicas <= (self.initial_replicas or self.min_replicas) <= self.max_replicas:
            raise ValueError(f"initial_replicas is {self.initial_replicas}, expected from min_replicas to max_replicas")
        if self.max_ongoing < self.target_ongoing_requests:
            raise ValueError(f"max_ongoing is {self.max_ongoing}, less than target_ongoing_requests")
        spans = self.engine.get("tensor_parallel_size", 1) * self.engine.get("pipeline_parallel_size", 1)
        if self.num_gpus and self.num_gpus != spans:
            raise ValueError(f"num_gpus is {self.num_gpus}, but the engine spans {spans} (tensor_parallel_size)")
        return self


class AppConfig(PoolConfig):
    """The application. A pool's options given here are those of the one pool that planner and executors share.

    name            what clients call the model; by default the folder's name
    num_planners    replicas of the planner, which only waits and counts tokens
    planner         a pool for the planner alone: its options where they differ from those given for both
    executor        a pool for the executors alone, likewise
    patience_s      how long a call waits while its pool has no replica at all
    grace_s         how long questions may still be answered once the service is asked to stop
    adaptive_width  fewer executors at once in new requests while calls wait in the engines' queues
    http            the HTTP door
    """

    name: str = ""
    num_planners: int = Field(default=1, ge=1)
    planner: dict[str, Any] = Field(default_factory=dict)
    executor: dict[str, Any] = Field(default_factory=dict)
    patience_s: float = Field(default=60.0, gt=0)
    grace_s: float = Field(default=10.0, gt=0)
    adaptive_width: bool = False
    http: HttpConfig = HttpConfig()

    @property
    def model_name(self) -> str:
        """What clients call the model."""
        return self.name or self.pools()[0][1].model.resolve().name

    def pools(self) -> list[tuple[str, PoolConfig]]:
        """The pools with their names, the planner's first."""
        if not self.planner and not self.executor:
            return [(SHARED, self._pool(SHARED, {}))]
        return [(PLANNER, self._pool(PLANNER, self.planner)), (EXECUTOR, self._pool(EXECUTOR, self.executor))]

    def _pool(self, name: str, own: dict[str, Any]) -> PoolConfig:
        both = {field: getattr(self, field) for field in PoolConfig.model_fields}
        if "model" in own:
            both["endpoint"] = None  # which serves another model
        return validate(PoolConfig, both | own, f"the {name} pool")

    @model_validator(mode="after")
    def _pools_make_sense(self) -> Self:
        self.pools()
        return self


class ServeConfig(AppConfig):
    """The application and the address it is served at.

    num_cpus    logical CPUs of the Ray instance that is started when none is running: slots for replicas, not cores
    ready_file  written with the endpoint's URL once it answers
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    num_cpus: int = Field(default=8, ge=2)
    ready_file: Path | None = None


def check_pools(config: AppConfig) -> None:
    """Raises ConfigError when a pool's folder cannot be served, or the pools do not speak the same tokens."""
    pools = config.pools()
    for _, pool in pools:
        (check_tokenizer_folder if pool.endpoint else check_model_folder)(pool.model)
        _check_window(pool)
    words = {name: _vocabulary(pool.model) for name, pool in pools}
    if None not in words.values() and len(set(words.values())) > 1:
        folders = " and ".join(str(pool.model) for _, pool in pools)
        raise ConfigError(f"planner and executor must have the same tokenizer, {folders} differ", field="executor")


def _vocabulary(folder: Path) -> str | None:
    """What decides how text is cut into ids, as one comparable text; None where it is in files of another kind."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = read_json(path)
    return json.dumps([tokenizer.get(key) for key in ("model", "added_tokens", "pre_tokenizer", "normalizer")])


def check_tokenizer_folder(folder: Path) -> None:
    """Raises ConfigError when `folder` has no tokenizer."""
    if not folder.is_dir():
        raise ConfigError(f"model folder {folder} does not exist", field="model")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ConfigError(f"{folder} has no tokenizer, expected one of {', '.join(TOKENIZER_FILES)}", field="model")


def check_model_folder(folder: Path) -> None:
    """Raises ConfigError when `folder` is not a model folder that can be served."""
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is not a model folder: it has no config.json", field="model")
    check_tokenizer_folder(folder)
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHT_PATTERNS):
        raise ConfigError(f"{folder} has no weights, expected {' or '.join(WEIGHT_PATTERNS)}", field="model")


def _check_window(pool: PoolConfig) -> None:
    """Raises ConfigError when the window is not known, or larger than what the model was made for."""
    window, made_for = context_window(pool), _positions(pool.model)
    stretched = "rope_scaling" in pool.engine or "hf_overrides" in pool.engine
    if made_for and window > made_for and not pool.endpoint and not stretched:
        raise ConfigError(
            f"context_tokens is {window}, the model in {pool.model} was made for at most {made_for}",
            field="context_tokens",
        )


def _positions(folder: Path) -> int | None:
    path = folder / "config.json"
    tokens = read_json(path).get("max_position_embeddings") if path.is_file() else None
    return tokens if isinstance(tokens, int) else None


def context_window(config: PoolConfig) -> int:
    """The context window in tokens. Raises ConfigError when neither the options nor the model's config say it."""
    if config.context_tokens:
        return config.context_tokens
    path = config.model / "config.json"
    try:
        tokens = read_json(path).get("max_position_embeddings")
    except InputError as error:
        raise ConfigError(str(error), field="model") from error
    if not isinstance(tokens, int):
        raise ConfigError(
            f"{path} does not say max_position_embeddings, so give context_tokens", field="context_tokens"
        )
    return tokens


def vocab_size(folder: Path) -> int | None:
    """How many token ids the model of a folder knows; None where its config does not say."""
    path = folder / "config.json"
    size = read_json(path).get("vocab_size") if path.is_file() else None
    return size if isinstance(size, int) else None
