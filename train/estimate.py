"""What a run would take, before it runs: steps, tokens, memory against the device's, disk, and time.

Counts are exact; memory is reckoned by `train.memory`; time is arithmetic over an assumed share of the device's peak,
and is said to be that. It knows settings, a model's configuration and the packed rows' numbers; it starts nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from train.attention import resolve as attention_of
from train.config import Precision, TrainConfig
from train.data import RowsInfo
from train.devices import GIB, Device, device_of
from train.files import existing
from train.memory import Batch, Memory, memory_of
from train.options import Attention, CrossEntropy, OffloadConfig, Where
from train.shape import Shape, shape_of


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take.

    rows_per_step  of all workers
    flops          of the whole run, those that are computed twice and those spent on padding counted
    seconds        of the whole run; None where the device's speed is not known
    free_disk      bytes left where checkpoints go
    problem        one sentence on why it will not fit, and what would; None when it will
    """

    config: TrainConfig
    info: RowsInfo
    shape: Shape
    device: Device
    memory: Memory
    micro_rows: int
    steps: int
    flops: float
    seconds: float | None
    free_disk: int
    problem: str | None

    @property
    def rows_per_step(self) -> int:
        return self.micro_rows * self.config.accumulation * self.config.workers

    @property
    def disk(self) -> float:
        """Bytes of the checkpoints that are kept, the one being written, and the exported model, at most."""
        kept = self.config.keep_checkpoints + 1 + (self.config.validation.keep if self.config.validation.share else 0)
        kept = min(kept, -(-self.steps // (self.config.checkpoint_every or self.steps)) + 1)
        return self.memory.checkpoint * kept + 2 * self.shape.parameters * _export_bytes(self.config)


def _export_bytes(config: TrainConfig) -> int:
    return 2 if config.precision is Precision.BF16 else 4


def estimate(config: TrainConfig, info: RowsInfo, model_config: Any, micro_rows: int, steps: int) -> Estimate:
    """What a run of `steps` optimizer steps over the rows of `info` would take.

    `model_config` is the start model's `transformers` configuration. Raises ConfigError when no device is known.
    """
    shape = shape_of(model_config, config)
    device = device_of(config, (shape.width, max(shape.width, shape.body // (shape.layers * shape.width) // 4)))
    batch = Batch(micro_rows, info.row_tokens, masked=config.layout == "exact" or info.examples > info.num_rows)
    memory = memory_of(config, shape, batch)
    tokens = steps * micro_rows * config.accumulation * config.workers * info.row_tokens
    flops = tokens * flops_per_token(config, shape, info)
    rate = None if device.flops is None else device.flops * config.estimate.utilisation * config.workers
    seconds = None if rate is None else flops / rate
    free = shutil.disk_usage(existing(config.out)).free
    problem = _problem(config, shape, batch, device, memory)
    return Estimate(config, info, shape, device, memory, micro_rows, steps, flops, seconds, free, problem)


def flops_per_token(config: TrainConfig, shape: Shape, info: RowsInfo) -> float:
    """FLOPs of one position of a row, forward and backward, checkpointed layers computed twice."""
    passes = (2 if config.lora.rank else 3) + config.gradient_checkpointing
    # A dense mask computes all pairs of a row; the others those of a document, of which the causal half counts.
    backend = attention_of(
        config.attention, config.layout == "exact", config.use_gpu, config.precision is Precision.FP32
    )
    context = info.row_tokens if backend is Attention.DENSE else min(info.row_tokens, info.tokens / info.examples) / 2
    pairs = 4 * shape.layers * shape.attention * context * (3 + config.gradient_checkpointing)
    head = (2 if config.lora.rank else 3) * 2 * shape.head * info.supervised_tokens / (info.num_rows * info.row_tokens)
    return passes * 2 * shape.body + pairs + head


# --- does it fit -----------------------------------------------------------------------------------------------------


def _problem(config: TrainConfig, shape: Shape, batch: Batch, device: Device, memory: Memory) -> str | None:
    if device.memory is None or memory.total <= device.memory:
        return None
    cure = _cure(config, shape, batch, device.memory)
    return (
        f"{config.name} would take {memory.total / GIB:.1f} GiB of the {device.memory / GIB:.1f} GiB that a worker has "
        f"on {device.name}: {cure}"
    )


def _cure(config: TrainConfig, shape: Shape, batch: Batch, memory: float) -> str:
    """The first change that makes it fit, or as many as it takes."""
    changes = list(_changes(config, batch))
    for words, changed, smaller in changes:
        if memory_of(changed, shape, smaller).total <= memory:
            return f"try {words}"
    tried, now = [], config
    for words, changed, batch_now in _one_after_another(config, batch):
        tried.append(words)
        now = changed
        if memory_of(now, shape, batch_now).total <= memory:
            return f"try {' with '.join(tried)}"
    return "no setting of one machine makes it fit, expected more workers, larger devices or a smaller model"


def _one_after_another(config: TrainConfig, batch: Batch) -> Iterator[tuple[str, TrainConfig, Batch]]:
    """The changes on top of one another."""
    seen: set[str] = set()
    while True:
        change = next((found for found in _changes(config, batch) if found[0] not in seen), None)
        if change is None:
            return
        seen.add(change[0])
        _, config, batch = change
        yield change


def _changes(config: TrainConfig, batch: Batch) -> Iterator[tuple[str, TrainConfig, Batch]]:
    """What takes less memory, the cheapest first: in words, the settings, and the micro step."""

    def change(words: str, smaller: Batch = batch, **values: Any) -> tuple[str, TrainConfig, Batch]:
        return words, config.model_copy(update=values), smaller

    if config.cross_entropy is CrossEntropy.FULL:
        yield change("cross_entropy=chunked", cross_entropy=CrossEntropy.CHUNKED)
    if batch.rows > 1:
        times = batch.rows * config.accumulation
        one = Batch(1, batch.row_tokens, batch.masked)
        yield change(f"micro_rows=1 accumulation={times}", one, micro_rows=1, accumulation=times)
    if not config.gradient_checkpointing:
        yield change("gradient_checkpointing", gradient_checkpointing=True)
    yield from _splits(config, change)
    for row_tokens in (batch.row_tokens // 2, batch.row_tokens // 4):
        if row_tokens >= 1024:
            yield change(f"row_tokens={row_tokens}", Batch(batch.rows, row_tokens, batch.masked))
    if not config.lora.rank and config.offload.optimizer is Where.DEVICE:
        yield change("lora.rank=64", lora=config.lora.model_copy(update={"rank": 64}))


def _splits(config: TrainConfig, change: Any) -> Iterator[tuple[str, TrainConfig, Batch]]:
    """More split over workers, or kept elsewhere."""
    if config.workers > 1 and config.zero_stage < 3:
        yield change("zero_stage=3", zero_stage=3)
    if not config.use_gpu or config.optimizer.value == "muon":
        return
    stage = max(1, config.zero_stage)
    if config.offload.optimizer is Where.DEVICE:
        cpu = OffloadConfig(optimizer=Where.CPU)
        yield change(f"offload.optimizer=cpu zero_stage={stage}", offload=cpu, zero_stage=stage)
    elif config.offload.parameters is Where.DEVICE:
        both = OffloadConfig(optimizer=Where.CPU, parameters=Where.CPU)
        yield change("offload.parameters=cpu zero_stage=3", offload=both, zero_stage=3)
