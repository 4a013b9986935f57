"""Bytes that a training run takes on one worker's device, and beside it: DeepSpeed's pieces, activations, the loss.

The pieces are those that DeepSpeed was seen to hold at each stage and precision (a test compares); activations are
those that autograd keeps. It knows shapes and settings; no data, no devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.attention import resolve as attention_of
from train.config import OptimizerName, Precision, TrainConfig
from train.losses import CHUNK_LOGITS
from train.losses import resolve as loss_of
from train.options import Attention, CrossEntropy, Where
from train.shape import Shape

_LIVE = 10**9  # weights that ZeRO-3 holds whole at once, at most (DeepSpeed's default)
_BUCKET = 5 * 10**8  # gradients that travel together, at most (train.zero)
_GPU_BASE = 2.0e9  # CUDA's context, kernels, NCCL's buffers and fragments of freed memory: an assumption
_CPU_BASE = 0.7e9  # a worker process before it has a model, as measured


@dataclass(frozen=True, slots=True)
class Batch:
    """What one micro step holds: rows, their length in tokens, and whether any of them needs a mask."""

    rows: int
    row_tokens: int
    masked: bool

    @property
    def tokens(self) -> int:
        return self.rows * self.row_tokens


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one worker.

    parts      what the device holds, by name
    step       what replaces `passing` while the optimizer steps
    host       in the machine's memory, for what is offloaded
    checkpoint of one checkpoint of all workers, on disk
    """

    parts: dict[str, float]
    step: float
    host: float
    checkpoint: float

    _PASSING = ("communication", "activations", "logits and loss")

    @property
    def total(self) -> float:
        """The most that the device holds at once."""
        passing = sum(self.parts[name] for name in self._PASSING)
        return sum(self.parts.values()) + max(0.0, self.step - passing)


def memory_of(config: TrainConfig, shape: Shape, batch: Batch) -> Memory:
    """What a worker of this run holds."""
    states, host = _states(config, shape), _host(config, shape)
    parts = {
        "weights": _weights(config, shape),
        "gradients": _gradients(config, shape),
        "optimizer": 0.0 if config.offload.optimizer is not Where.DEVICE else states / _split(config, 1),
        "communication": _communication(config, shape),
        "activations": _activations(config, shape, batch),
        "logits and loss": _loss(config, shape, batch),
        "process (assumed)": _GPU_BASE if config.use_gpu else _CPU_BASE,
    }
    return Memory(parts, _step(config, shape), host, states + shape.parameters * _bytes(config))


def _bytes(config: TrainConfig) -> int:
    return 2 if config.precision is Precision.BF16 else 4


def _split(config: TrainConfig, stage: int) -> int:
    """Over how many workers something is split that is split from `stage` on."""
    return config.workers if config.zero_stage >= stage else 1


def _weights(config: TrainConfig, shape: Shape) -> float:
    """Weights, or under ZeRO-3 this worker's share and those that are whole for the moment; what autocast copies."""
    whole = shape.parameters * _bytes(config)
    if config.zero_stage < 3:
        return whole + shape.cast_bytes
    share = 0.0 if config.offload.parameters is not Where.DEVICE else whole / config.workers
    live = min(shape.parameters - shape.parameters / config.workers, _LIVE) * _bytes(config)
    return share + live + shape.cast_bytes


def _masters(config: TrainConfig) -> bool:
    """Whether there are fp32 copies of the weights: ZeRO keeps its own, and bf16 needs them."""
    return config.zero_stage > 0 or config.precision is Precision.BF16


def _states(config: TrainConfig, shape: Shape) -> float:
    """Masters and running means of all workers, in fp32."""
    muon = shape.hidden if config.optimizer is OptimizerName.MUON else 0
    return 4.0 * (shape.trainable * (2 + _masters(config)) - muon)


def _gradients(config: TrainConfig, shape: Shape) -> float:
    """Gradients between micro steps; ZeRO-1 keeps them whole until the last one."""
    whole = float(shape.trainable * _bytes(config))
    if config.offload.optimizer is not Where.DEVICE and config.zero_stage >= 2:
        return 0.0
    kept = whole / _split(config, 1)
    return kept + (whole if config.zero_stage == 1 and config.accumulation > 1 else 0.0)


def _communication(config: TrainConfig, shape: Shape) -> float:
    """Buckets of gradients under way: two where one is filled while the other travels."""
    if config.workers == 1 and config.zero_stage == 0:
        return 0.0
    twice = 2 if config.use_gpu and config.zero_stage in (1, 2) else 1
    return float(min(shape.trainable, _BUCKET) * _bytes(config) * twice)


def _step(config: TrainConfig, shape: Shape) -> float:
    """Gradients in fp32 while the optimizer steps, and the matrices that Muon gathers."""
    if config.offload.optimizer is not Where.DEVICE:
        return 0.0
    gathered = 4.0 * shape.hidden if config.optimizer is OptimizerName.MUON and config.zero_stage else 0.0
    return gathered + (4.0 * shape.trainable / _split(config, 1) if _masters(config) else 0.0)


def _host(config: TrainConfig, shape: Shape) -> float:
    """Optimizer states, their gradients and weights kept in the machine's memory."""
    optimizer = _states(config, shape) + 4.0 * shape.trainable if config.offload.optimizer is Where.CPU else 0.0
    weights = shape.parameters * _bytes(config) if config.offload.parameters is Where.CPU else 0.0
    return (optimizer + weights) / config.workers


def _activations(config: TrainConfig, shape: Shape, batch: Batch) -> float:
    """What is kept for the backward pass; checkpointing keeps the states between layers, and one layer at a time."""
    if config.gradient_checkpointing:
        state = shape.width * _bytes(config)
        each = shape.layers * state + shape.layer_bytes + shape.other_bytes
    else:
        each = shape.layers * shape.layer_bytes + shape.other_bytes
    return each * batch.tokens + _mask(config, batch)


def _mask(config: TrainConfig, batch: Batch) -> float:
    """A dense mask, as a bias, and the truth values it is made of."""
    fp32 = config.precision is Precision.FP32
    backend = attention_of(config.attention, config.layout == "exact", config.use_gpu, fp32)
    if backend is not Attention.DENSE or not batch.masked:
        return 0.0
    return float(batch.rows * batch.row_tokens**2 * ((4 if fp32 else 2) + 3))


def _loss(config: TrainConfig, shape: Shape, batch: Batch) -> float:
    """Logits and their gradients, and the head's gradient where it is summed up beside the weights."""
    how, number = loss_of(config.cross_entropy, config.use_gpu), _bytes(config)
    if how is CrossEntropy.FULL:
        return float(batch.tokens * shape.vocabulary * (2 * number + 8))
    logits = min(CHUNK_LOGITS, batch.tokens * shape.vocabulary) * 8.0
    if how is CrossEntropy.LIGER:
        logits = batch.tokens * shape.width * 12.0
    half = 0.0 if config.precision is Precision.FP32 else 2.0  # a copy in bf16, of the weights or of their gradient
    head = 0.0 if config.lora.rank else shape.head * (4.0 + half)
    return logits + head
