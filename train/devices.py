"""What a device holds and how fast it multiplies: a GPU by its name or as it stands here, a CPU by trying.

It knows devices; no model and no data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sprint.errors import ConfigError
from train.config import Precision, TrainConfig
from train.flops import peak_flops

GIB = 2**30
# GiB that a process can allocate, about 1 % less than the makers' round numbers. The first name that a name holds.
MEMORY_GIB = {
    "B200": 178.0,
    "H200": 140.0,
    "GH200": 95.0,
    "H100 NVL": 93.0,
    "H100": 79.0,
    "A100-80": 79.0,
    "A100 80": 79.0,
    "SXM4-80": 79.0,
    "A100": 39.0,
    "L40S": 44.0,
    "L4": 22.0,
    "A40": 44.0,
    "A10": 22.0,
    "RTX 4090": 23.5,
    "RTX 3090": 23.5,
    "MI300X": 191.0,
}
_TRY_S = 0.2


@dataclass(frozen=True, slots=True)
class Device:
    """What one worker computes on: its memory in bytes, and FLOP/s of large products; None where not known."""

    name: str
    memory: float | None
    flops: float | None
    measured: bool = False


def device_of(config: TrainConfig, widths: tuple[int, int]) -> Device:
    """The device of one worker. `widths` are the rows and columns of a matrix such as the model's, to try a CPU with.

    Raises ConfigError when a GPU is wanted, none is here and none is named that is known.
    """
    given = config.estimate
    memory = None if given.memory_gib is None else given.memory_gib * GIB
    if config.use_gpu:
        name, found = _gpu(given.device)
        return Device(name, memory or found, _peak(name, config.precision))
    share = memory or free_memory() / config.workers
    return Device(f"{config.threads} CPU threads", share, _try_products(config, widths), measured=True)


def _gpu(named: str | None) -> tuple[str, float | None]:
    """Name and bytes of the named GPU, or of the first one here."""
    if named is not None:
        known = next((gib for name, gib in MEMORY_GIB.items() if name in named), None)
        if known is None:
            names = ", ".join(MEMORY_GIB)
            raise ConfigError(f"estimate.device is {named!r}, expected one of: {names}", field="estimate.device")
        return named, known * GIB
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("use_gpu, but there is no GPU here to reckon with, expected estimate.device, such as H100")
    found = torch.cuda.get_device_properties(0)
    return found.name, float(found.total_memory)


def _peak(name: str, precision: Precision) -> float | None:
    """FLOP/s in the precision of the products: with fp32 weights and no autocast a GPU's bf16 peak says nothing."""
    return None if precision is Precision.FP32 else peak_flops(name)


def free_memory() -> float:
    """Bytes that processes of this machine can still allocate."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    values = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in lines)}
    return float(min(values["MemAvailable"], _group_limit()))


def _group_limit() -> float:
    """What is left of the limit of this process's control group, where one is set."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text(encoding="ascii").strip() for name in ("max", "current"))
        return float(limit) - float(used)  # `max` reads as no number
    except (OSError, ValueError):
        return float("inf")


def _try_products(config: TrainConfig, widths: tuple[int, int]) -> float:
    """FLOP/s of products of tokens with a matrix of `widths`, on as many threads as a worker has, for a moment."""
    import torch

    dtype = torch.float32 if config.precision is Precision.FP32 else torch.bfloat16
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        tokens, matrix = torch.randn(1024, widths[0]).to(dtype), torch.randn(widths).to(dtype)
        times: list[float] = []
        began = time.perf_counter()
        while not times or time.perf_counter() - began < _TRY_S:
            start = time.perf_counter()
            tokens @ matrix
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return 2 * 1024 * widths[0] * widths[1] / sorted(times)[len(times) // 2]
