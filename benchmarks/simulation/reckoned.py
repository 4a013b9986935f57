"""Step times of a language model on a GPU, reckoned from its sizes and the device's: arithmetic, not measurement.

A decoding step reads every weight once and each sequence's KV cache; a prompt token costs two operations a weight.
What share of a device's bandwidth and peak an engine reaches, and what a step costs besides, is assumed. It knows no
service.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulation.engine import EngineOptions, StepTimes


@dataclass(frozen=True, slots=True)
class Model:
    """A decoder's sizes, in bf16. `weights`: parameters that are read for a token."""

    name: str
    weights: float
    layers: int
    kv_heads: int
    head: int

    @property
    def kv_bytes(self) -> int:
        """Of one token in the KV cache: keys and values of each layer, two bytes each."""
        return 2 * 2 * self.layers * self.kv_heads * self.head


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device as its maker states it: FLOP/s in bf16, bytes/s, bytes."""

    name: str
    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class Assumed:
    """What an engine reaches.

    bandwidth  share of the device's, while weights and caches are read
    flops      share of the device's peak, while prompts are read
    step_s     a step's seconds besides: scheduling, launching kernels, sampling
    sequence_s the same for each sequence
    memory     share of the device's memory that the engine may fill
    """

    bandwidth: float = 0.65
    flops: float = 0.5
    step_s: float = 0.002
    sequence_s: float = 20e-6
    memory: float = 0.85


QWEN_7B = Model("Qwen2.5-7B", 7.62e9, 28, 4, 128)
QWEN_14B = Model("Qwen2.5-14B", 14.8e9, 48, 8, 128)
GPUS = {
    "H100": Gpu("H100", 989e12, 3.35e12, 79 * 2**30),
    "H200": Gpu("H200", 989e12, 4.8e12, 140 * 2**30),
    "A100": Gpu("A100", 312e12, 2.04e12, 79 * 2**30),
    "L40S": Gpu("L40S", 362e12, 0.864e12, 44 * 2**30),
}


def step_times(model: Model, gpu: Gpu, assumed: Assumed) -> StepTimes:
    """How long the steps of an engine on one such device take."""
    reading_s = 2 * model.weights / (gpu.bandwidth * assumed.bandwidth)
    prefill_s = 2 * model.weights / (gpu.flops * assumed.flops)
    context_s = model.kv_bytes / (gpu.bandwidth * assumed.bandwidth)
    return StepTimes(reading_s + assumed.step_s, assumed.sequence_s, prefill_s, context_s)


def engine_options(model: Model, gpu: Gpu, assumed: Assumed, max_num_seqs: int = 256) -> EngineOptions:
    """An engine that fills what the weights leave of the device's memory with its KV cache. None left: none fits."""
    free = gpu.memory * assumed.memory - 2 * model.weights
    if free <= 0:
        raise ValueError(f"{model.name} does not fit one {gpu.name}")
    return EngineOptions(max_num_seqs, 8192, 16, free // model.kv_bytes)
