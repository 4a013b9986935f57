"""Sections of a training run's configuration: what is validated, logged, kept elsewhere or adapted. Nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sprint.config import StrictModel


class Attention(StrEnum):
    """How attention is computed over packed rows."""

    AUTO = "auto"  # dense on CPU; on GPU varlen where it can be (see there), otherwise flex
    DENSE = "dense"  # a mask of row_tokens x row_tokens
    FLEX = "flex"  # FlexAttention block masks: blocks that nobody sees cost nothing; training needs a GPU
    VARLEN = "varlen"  # flash-attention over documents end to end: no branches, bf16 products, package flash_attn


class CrossEntropy(StrEnum):
    """How the loss is computed from the last hidden states."""

    AUTO = "auto"  # liger where it is installed and there is a GPU, otherwise chunked
    FULL = "full"  # all supervised logits at once
    CHUNKED = "chunked"  # a few at a time, computed again for the gradient: memory independent of the row's length
    LIGER = "liger"  # Liger's fused linear cross entropy (GPU)


class Where(StrEnum):
    """Where ZeRO keeps something between uses."""

    DEVICE = "device"
    CPU = "cpu"
    NVME = "nvme"


class ValidationConfig(StrictModel):
    """Evaluation loss on examples that are never trained on.

    share     of the examples, chosen by a hash of their id and the run's seed, so the same whatever else is in the set
    every     optimizer steps between evaluations; not given: at every checkpoint
    patience  evaluations without a better loss after which training stops; not given: never
    keep      checkpoints with the lowest loss to keep beside the latest ones
    export    which weights become the model: the last, or those with the lowest loss
    """

    share: float = Field(default=0.0, ge=0, le=0.5)
    every: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=1)
    keep: int = Field(default=1, ge=1)
    export: Literal["last", "best"] = "last"

    @model_validator(mode="after")
    def _needs_examples(self) -> Self:
        if not self.share and (self.every or self.patience or self.export == "best"):
            raise ValueError("share is 0, but every, patience or export = best need examples to validate on")
        return self


class OffloadConfig(StrictModel):
    """What ZeRO keeps away from the device between uses.

    optimizer   optimizer states (stages 1 to 3 to the CPU; stage 3 to NVMe)
    parameters  weights (stage 3)
    nvme        folder on a fast disk, for what goes there
    """

    optimizer: Where = Where.DEVICE
    parameters: Where = Where.DEVICE
    nvme: Path | None = None

    @model_validator(mode="after")
    def _a_folder_for_nvme(self) -> Self:
        if Where.NVME in (self.optimizer, self.parameters) and self.nvme is None:
            raise ValueError("nvme is not given, expected a folder to offload to")
        return self


class LoraConfig(StrictModel):
    """Low-rank adapters instead of full fine-tuning. Off at rank 0.

    rank     of the adapters
    alpha    their scale, divided by the rank; not given: twice the rank
    dropout  on the adapters' input
    targets  names of the modules to adapt; not given: every linear layer but the head
    """

    rank: int = Field(default=0, ge=0)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()


class TrackingConfig(StrictModel):
    """Where metrics go beside `metrics.jsonl`.

    tensorboard  event files in the run's folder
    wandb        a Weights & Biases project; not given: none
    """

    tensorboard: bool = True
    wandb: str | None = None


class EstimateConfig(StrictModel):
    """What `dry_run` reckons with.

    device       a GPU that is not here, such as H100 or A100-80
    memory_gib   of one device; not given: what the GPU has, or what is free here, shared by the workers
    utilisation  share of the device's peak that training reaches; an assumption
    """

    device: str | None = None
    memory_gib: float | None = Field(default=None, gt=0)
    utilisation: float = Field(default=0.4, gt=0, le=1)


class CheckConfig(StrictModel):
    """Sample held-out problems with the engine while training, and look at the answers' form. Off without `every`.

    every         optimizer steps between checks
    task          whose problems (`sprint generate --help` names the tasks); not given: the run's `task`
    task_options  the task's own settings
    problems      how many problems, the same every time
    max_tokens    most tokens of one rollout
    """

    every: int | None = Field(default=None, ge=1)
    task: str = ""
    task_options: dict[str, Any] = Field(default_factory=dict)
    problems: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=1024, ge=16)
