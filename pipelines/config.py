"""What `sprint curate` can be told. Knows no Ray and opens no files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.endpoint.config import EndpointConfig, masked
from pipelines.inputs.filesystems import display_name
from sprint.annotate import FOLD_LINES
from sprint.config import Nodes, StrictModel
from sprint.curate import CurationOptions, OnLeak, Ratio
from sprint.requests import Prices
from sprint.rows import ALIASES

# Options that say how, where or how fast a run goes, but not what comes out of it.
_PLACE = ("out", "overwrite", "resume", "retry_failed", "push", "compare_with")
_PACE = ("num_cpus", "nodes", "cpus_per_task", "rows_per_task", "rows_per_file", "checkpoint_s", "prices")
_GUARDS = ("max_cost", "max_failed_in_a_row")
_LIMITS = ("concurrency", "timeout_s", "max_attempts", "backoff_s", "max_requests_per_minute", "max_tokens_per_minute")
_ACCESS = ("api_key_env", "base_url", "headers")
_MACHINES = ("nodes",)


class EngineConfig(StrictModel):
    """Offline batch inference with vLLM on this Ray (annotator `vllm`)."""

    model: str = Field(description="model folder or hub name")
    engine_kwargs: dict[str, Any] = Field(default_factory=dict, description="passed to vLLM as they are")
    replicas: int = Field(1, ge=1, description="engines at once")
    batch_size: int = Field(32, ge=1, description="requests handed to an engine at a time")
    cpu: bool = Field(False, description="no GPU: settings that vLLM needs on CPUs")
    placement_group: dict[str, Any] | None = Field(None, description="Ray bundles of one engine (default: its GPUs)")
    accelerator: str | None = Field(None, description="GPU type as Ray names it, e.g. H100")
    nodes: Nodes = Field(default_factory=dict, description="labels of the nodes of engines (default: nodes of the run)")
    temperature: float = Field(0.0, ge=0, description="of sampling")
    structured: bool = Field(True, description="hold replies to a JSON schema")


class PricesConfig(StrictModel):
    """Prices for a million tokens, in one currency."""

    prompt: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)
    cached: float | None = Field(None, ge=0)

    @property
    def prices(self) -> Prices:
        return Prices(self.prompt, self.output, self.cached)


class CurateConfig(StrictModel):
    """One curation run: traces in, SPRINT and RFT training sets out.

    Defaults for folding, ratio and rounds are those of the paper's released settings (A.2).
    """

    inputs: tuple[str, ...] = Field(
        min_length=1, description="files (JSONL, Parquet, Arrow), folders, globs, s3://, gs:// or hub datasets"
    )
    out: str = Field("", description="run folder or URI (default: runs/curate-HASH, by inputs and settings)")
    overwrite: bool = Field(False, description="delete the run that stands in `out` and start anew")
    resume: bool = Field(False, description="go on where the run in `out` stopped")
    retry_failed: bool = Field(False, description="with resume: ask again for rows whose requests had failed")
    columns: dict[str, str] = Field(
        default_factory=dict, description="column of a field, e.g. reasoning=thought; give once for each"
    )
    require_gold: bool = Field(True, description="drop rows without a gold answer to check against")

    annotator: Literal["rules", "openai", "vllm", "recorded"] = Field("rules", description="who finds the steps")
    endpoint: EndpointConfig | None = Field(None, description="for openai, e.g. model=gpt-4o")
    engine: EngineConfig | None = Field(None, description="for vllm, e.g. model=FOLDER")
    recorded: str = Field("", description="for recorded: the run whose replies are replayed")
    repair: bool = Field(True, description="tell the model once what was wrong with a reply")
    thinking_tokens: int = Field(0, ge=0, description="room for the thoughts of a model that thinks before it replies")
    prices: PricesConfig = Field(
        default_factory=lambda: PricesConfig.model_validate({}),
        description="per million tokens, e.g. output=0.6",
    )
    max_cost: float | None = Field(None, gt=0, description="stop, resumable, when the calls have cost this much")
    max_failed_in_a_row: int = Field(
        100, ge=1, description="stop, resumable, when so many rows in a row cannot be asked"
    )

    fold_lines: int = Field(FOLD_LINES, ge=0, description="executions of at most this many lines go into the plan")
    min_ratio: float = Field(1.5, ge=0, description="least steps per round")
    ratio: Ratio = Field(Ratio.EXECUTED, description="steps that min_ratio counts: executed ones, or all")
    max_rounds: int = Field(11, ge=1, description="most rounds before the final answer")
    max_prompts: int = Field(16, ge=1, description="most prompts in one round")
    min_coverage: float = Field(0.9, ge=0, le=1, description="least share of lines that stand in a step")
    on_leak: OnLeak = Field(OnLeak.MEND, description="when an execution uses a sibling's result")
    max_chars: int | None = Field(None, ge=1, description="longest reasoning, in characters")
    max_length: int | None = Field(None, ge=1, description="longest training text (tokens if there is a tokenizer)")
    contamination: tuple[str, ...] = Field((), description="evaluation set not to overlap with; give once for each")
    contamination_ngram: int = Field(13, ge=3, description="words in a row that make an overlap")

    tokenizer: str = Field("", description="folder or .tiktoken file: lengths are counted in its tokens")
    fields: tuple[Literal["text", "messages", "tokens"], ...] = Field(
        ("text", "messages"), description="text, messages, tokens (needs a tokenizer); give once for each"
    )
    instruction: Literal["sprint", "none"] = Field("sprint", description="what stands before the question in messages")
    push: str = Field("", description="hub dataset to upload the finished sets to, as owner/name")

    compare_with: str = Field("", description="another run over the same traces: agreement goes into the report")

    limit: int | None = Field(None, ge=1, description="read only the first so many rows")
    num_cpus: int | None = Field(None, ge=1, description="size of a Ray started for this run (default: all)")
    nodes: Nodes = Field(
        default_factory=dict, description="labels of the nodes that work is sent to, e.g. sprint/pool=curation"
    )
    cpus_per_task: float = Field(0.5, gt=0, description="CPUs that one curation task claims")
    rows_per_task: int | None = Field(None, ge=1, description="rows that one task reads (default: 256, 8 with a model)")
    rows_per_file: int = Field(10_000, ge=1, description="rows in one Parquet file of the output")
    checkpoint_s: float = Field(5.0, ge=0, description="seconds between checkpoints")
    seed: int = Field(0, description="chooses the examples in the report")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in ALIASES:
                raise ValueError(f"unknown field {name!r}, expected one of: {', '.join(ALIASES)}")
        return columns

    @model_validator(mode="after")
    def _complete(self) -> CurateConfig:
        needs = {"openai": "endpoint", "vllm": "engine", "recorded": "recorded"}.get(self.annotator)
        if needs and not getattr(self, needs):
            raise ValueError(f"annotator {self.annotator} needs {needs!r}")
        for other in {"endpoint", "engine", "recorded"} - {needs}:
            if getattr(self, other):
                raise ValueError(f"{other!r} is of no use to annotator {self.annotator}")
        if "tokens" in self.fields and not self.tokenizer:
            raise ValueError("fields has 'tokens', which needs 'tokenizer'")
        if self.max_cost and not (self.annotator == "openai" and self.prices.output and self.prices.prompt):
            raise ValueError("max_cost needs annotator openai, and prices for prompt and output")
        if self.retry_failed and not self.resume:
            raise ValueError("retry_failed needs resume")
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite exclude each other")
        if self.push and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.push):
            raise ValueError(f"push is {self.push!r}, expected owner/name")
        return self

    @property
    def options(self) -> CurationOptions:
        """The part that the row functions need."""
        names = CurationOptions.__dataclass_fields__
        return CurationOptions(**{name: getattr(self, name) for name in names})

    @property
    def uses_model(self) -> bool:
        """Whether annotations come from a language model."""
        return self.annotator != "rules"

    @property
    def task_rows(self) -> int:
        """Rows that one task reads: few where each waits for a model, so that little is in flight."""
        return self.rows_per_task or (8 if self.annotator == "openai" else 256)

    def essence(self) -> dict[str, Any]:
        """The settings that decide what comes out, as JSON values. Equal essences and inputs give equal outputs."""
        values = self.model_dump(mode="json", exclude={*_PLACE, *_PACE, *_GUARDS})
        for name in ("inputs", "contamination"):
            values[name] = [display_name(place) for place in values[name]]  # an address may hold keys
        values["recorded"] = display_name(self.recorded) if self.recorded else ""
        if self.endpoint:
            values["endpoint"] = masked(self.endpoint.model_dump(mode="json", exclude={*_LIMITS, *_ACCESS}))
        if self.engine:
            values["engine"] = masked(self.engine.model_dump(mode="json", exclude={*_MACHINES}))
        return values


def fingerprint(value: Mapping[str, Any]) -> str:
    """A short hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
