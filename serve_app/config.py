"""What can be configured about serving, and what is checked of a model folder before anything is started.

It knows neither Ray nor vLLM: a mistake is reported within a second, not after an engine has failed to start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sprint.config import StrictModel
from sprint.errors import ConfigError, InputError
from sprint.files import read_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
WEIGHT_PATTERNS = ("*.safetensors", "*.bin")


class AppConfig(StrictModel):
    """The application: one model, served by one kind of vLLM replica.

    model                    a Hugging Face model folder, with `sprint.json` where the model was trained by this project
    name                     what clients call the model; by default the folder's name
    context_tokens           the context window; by default what the model's config.json says
    num_gpus                 GPUs of one replica; 0 serves on CPU
    max_replicas             how far the model deployment may scale out
    target_ongoing_requests  calls in flight per replica that autoscaling aims at
    max_num_seqs             most calls one engine decodes at once; more wait in its queue
    kv_cache_mib             memory for the KV cache on CPU; on GPU vLLM takes what is free
    num_planners             replicas of the planner, which only waits and counts tokens
    engine                   further vLLM engine arguments, on top of everything this project sets
    """

    model: Path
    name: str = ""
    context_tokens: int | None = Field(default=None, ge=16)
    num_gpus: int = Field(default=0, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: int = Field(default=32, ge=1)
    max_num_seqs: int = Field(default=64, ge=1)
    kv_cache_mib: int = Field(default=256, ge=8)
    num_planners: int = Field(default=1, ge=1)
    engine: dict[str, Any] = Field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """What clients call the model."""
        return self.name or self.model.resolve().name


class ServeConfig(AppConfig):
    """The application and the address it is served at.

    num_cpus    logical CPUs of the Ray instance that is started when none is running: slots for replicas, not cores
    ready_file  written with the endpoint's URL once it answers
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    num_cpus: int = Field(default=8, ge=2)
    ready_file: Path | None = None


def check_model_folder(folder: Path) -> None:
    """Raises ConfigError when `folder` is not a model folder that can be served."""
    if not folder.is_dir():
        raise ConfigError(f"model folder {folder} does not exist", field="model")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is not a model folder: it has no config.json", field="model")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ConfigError(f"{folder} has no tokenizer, expected one of {', '.join(TOKENIZER_FILES)}", field="model")
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHT_PATTERNS):
        raise ConfigError(f"{folder} has no weights, expected {' or '.join(WEIGHT_PATTERNS)}", field="model")


def context_window(config: AppConfig) -> int:
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
