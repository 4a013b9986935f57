"""What a training run can be told, and nothing about how it runs. It imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from sprint.card import Instruction
from sprint.config import Nodes, StrictModel
from sprint.errors import ConfigError
from train.options import (
    Attention,
    CheckConfig,
    CrossEntropy,
    EstimateConfig,
    LoraConfig,
    OffloadConfig,
    TrackingConfig,
    ValidationConfig,
)

SCRATCH = "scratch"


class OptimizerName(StrEnum):
    """What moves the weights."""

    ADAMW = "adamw"
    MUON = "muon"  # Muon on the hidden matrices, AdamW on embeddings, norms, biases and the head


class Schedule(StrEnum):
    """What the learning rate does after the warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    TRAPEZOID = "trapezoid"  # constant, then linear down: full speed until a small model has learned its skill


class Precision(StrEnum):
    """Numbers of the weights and of the arithmetic."""

    FP32 = "fp32"
    AUTOCAST = "autocast"  # fp32 weights, bf16 matrix products: the fast and exact choice on CPU
    BF16 = "bf16"  # DeepSpeed's bf16: bf16 weights over fp32 master weights


def _plain_name(name: str) -> str:
    if not name or name != name.strip() or any(sign in name for sign in "/\\") or name in (".", ".."):
        raise ValueError("expected a plain folder name, such as chains-sprint")
    return name


class TrainConfig(StrictModel):
    """One supervised fine-tuning run. Everything it writes stands in the folder `out`/`name`.

    data                    folder of curated Parquet files; its `method` column says what the model learns
    name                    of the run and its folder
    start                   `scratch` (a small Qwen2 and a tokenizer made from this data), a model folder or a hub name
    out                     folder of runs, shared by all machines
    export                  where the trained model goes; not given: `out`/`name`/model
    resume                  go on with a run of this name, with as many rows a step on any number of workers; without
                            it a used name is an error
    dry_run                 check everything and say what the run would take, without running it
    layout                  exact: each supervised token sees just what it will see at inference; flat: one text (paper)
    supervise               sampled: what the model samples at inference; all: the runtime's tags and the end of the
                            think block too (layout flat; the paper)
    attention               how attention over packed rows is computed
    cross_entropy           how the loss is computed from the last hidden states
    instruction             the text before the question; not given: none for scratch, otherwise by method
    task                    a word about the task, for the model's card
    seed                    of the order of the data, and of the weights of `scratch`
    row_tokens              length of a packed row, which may be above the model's context; not given: the longest
                            example that fits the context, on GPU up to twice that where padding is less then
    batch_tokens            row tokens per worker and micro step, rounded to whole rows
    micro_rows              the same, in rows
    accumulation            micro steps per optimizer step
    epochs                  passes over the data
    max_steps               optimizer steps, instead of `epochs`
    optimizer               adamw, or muon: Muon on the hidden matrices and AdamW on the rest
    learning_rate           peak, of AdamW
    weight_decay            of AdamW; with muon also of its embeddings, otherwise of matrices only
    beta1, beta2            AdamW's running means
    muon_learning_rate      peak, of Muon
    muon_weight_decay       of Muon's matrices
    muon_momentum           of Muon
    clip                    largest gradient norm, over all parameters; 0: no limit
    schedule                what the learning rates do after the warm-up
    warmup_steps            optimizer steps of rising learning rates
    final_rate              learning rates at the end, as a share of the peak
    precision               fp32; autocast: bf16 products over fp32 weights; bf16: weights too, with fp32 masters
    zero_stage              what DeepSpeed splits over workers: 0 nothing, 1 optimizer, 2 and gradients, 3 and weights
    gradient_checkpointing  compute activations twice instead of keeping them
    offload                 what ZeRO keeps in CPU memory or on disk
    lora                    low-rank adapters instead of full fine-tuning
    workers                 processes, one per device
    threads                 CPU threads per worker
    use_gpu                 one GPU per worker
    nodes                   labels of the nodes that workers run on, e.g. sprint/pool=training; empty: any
    resources               Ray resources per worker; not given: `threads` CPUs, and one GPU with `use_gpu`
    checkpoint_every        optimizer steps between checkpoints; not given: once per epoch
    keep_checkpoints        latest checkpoints to keep; with `validation` also the best ones
    validation              evaluation loss on held-out examples, early stopping
    check                   sample held-out problems with the engine while training
    smoke                   generate a few tokens from the exported model, to see that it loads and writes
    log_every               optimizer steps between progress lines
    tracking                where metrics go beside metrics.jsonl
    estimate                what `dry_run` reckons with
    max_failures            worker failures survived by going on from the last checkpoint; -1: any number
    """

    data: Path
    name: Annotated[str, AfterValidator(_plain_name)]
    start: str = SCRATCH
    out: Path = Path("runs")
    export: Path | None = None
    resume: bool = False
    dry_run: bool = False

    layout: Literal["exact", "flat"] = "exact"
    supervise: Literal["sampled", "all"] = "sampled"
    attention: Attention = Attention.AUTO
    cross_entropy: CrossEntropy = CrossEntropy.AUTO
    instruction: Instruction | None = None
    task: str = ""
    seed: int = 0

    row_tokens: int | None = Field(None, ge=8)
    batch_tokens: int = Field(2560, ge=8)
    micro_rows: int | None = Field(None, ge=1)
    accumulation: int = Field(1, ge=1)
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)

    optimizer: OptimizerName = OptimizerName.ADAMW
    learning_rate: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, ge=0, lt=1)
    muon_learning_rate: float = Field(0.02, gt=0)
    muon_weight_decay: float = Field(0.05, ge=0)
    muon_momentum: float = Field(0.95, ge=0, lt=1)
    clip: float = Field(1.0, ge=0)
    schedule: Schedule = Schedule.COSINE
    warmup_steps: int = Field(0, ge=0)
    final_rate: float = Field(0.0, ge=0, le=1)

    precision: Precision = Precision.AUTOCAST
    zero_stage: int = Field(1, ge=0, le=3)
    gradient_checkpointing: bool = False
    offload: OffloadConfig = OffloadConfig()
    lora: LoraConfig = LoraConfig()
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1)
    use_gpu: bool = False
    nodes: Nodes = Field(default_factory=dict)
    resources: dict[str, float] | None = None

    checkpoint_every: int | None = Field(None, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    validation: ValidationConfig = ValidationConfig()
    check: CheckConfig = CheckConfig()
    smoke: bool = True
    log_every: int = Field(20, ge=1)
    tracking: TrackingConfig = TrackingConfig()
    estimate: EstimateConfig = EstimateConfig()
    max_failures: int = Field(0, ge=-1)

    @field_validator("supervise")
    @classmethod
    def _tags_are_seen_in_flat(cls, value: str, info: ValidationInfo) -> str:
        if value == "all" and info.data.get("layout") == "exact":
            raise ValueError("all needs layout flat, as layout exact supervises what a model samples and nothing else")
        return value

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out.absolute() / self.name

    @property
    def export_folder(self) -> Path:
        return self.export.absolute() if self.export else self.folder / "model"


class TrainSummary(StrictModel):
    """What a run came to. Tokens are those of all workers; `supervised_tokens` are the ones that carried loss.

    `dropped` counts examples longer than a row. `seconds` is the time in the training loop, each step once. `smoke` is
    what the exported model wrote after the first training question; not given when it was not asked.
    """

    name: str
    method: str
    steps: int
    examples: int
    dropped: int
    tokens: int
    supervised_tokens: int
    final_loss: float
    seconds: float
    export: Path
    smoke: str | None = None


def recipe(name: str) -> Path:
    """The path of a shipped recipe. Raises ConfigError naming those there are."""
    folder = Path(__file__).parent / "recipes"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(f"there is no recipe {name!r}, expected one of: {known}", field="recipe")
    return path
