"""Losses, tokens and seconds of a run: each worker counts, rank 0 writes the lines. It knows no model and no data."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sprint.files import write_jsonl
from sprint.types import Kind
from train.config import Precision, TrainConfig
from train.flops import Work, peak_flops
from train.progress import METRICS, whole_lines
from train.trackers import Tracker, flat, open_trackers

_KINDS = len(Kind)


class Meter:
    """What happened since the last line. Sums stay where they are computed until workers meet to write it."""

    def __init__(self, config: TrainConfig, steps: int, rank: int, device: Any, work: Work | None = None) -> None:
        self._config, self._path = config, config.folder / METRICS
        self._steps, self._rank, self._device, self._work = steps, rank, device, work
        self._trackers: list[Tracker] = []
        self._total = [0, 0]  # tokens, supervised tokens, of all workers since the beginning
        self._seconds = 0.0
        self._norm: float | None = None
        self._began = time.monotonic()
        self._new_window()

    def _new_window(self) -> None:
        self._losses = torch.zeros(_KINDS, device=self._device)
        self._counts = np.zeros(_KINDS + 2)  # supervised tokens by kind, tokens, positions; of this worker
        self._line_time = time.monotonic()

    def state(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"total": list(self._total), "seconds": self._elapsed()}

    def restore(self, state: dict[str, Any]) -> None:
        self._total, self._seconds = list(state["total"]), float(state["seconds"])

    @contextmanager
    def running(self, step: int) -> Iterator[None]:
        """While the clock runs. Lines of steps after `step`, left by a run that stopped, are taken back."""
        self._began = self._line_time = time.monotonic()
        if self._rank == 0:
            if self._path.exists():
                write_jsonl(self._path, [line for line in whole_lines(self._path) if line["step"] <= step])
            self._trackers = open_trackers(self._config, step)
        try:
            yield
        finally:
            for tracker in self._trackers:
                tracker.close()

    # --- counting ----------------------------------------------------------------------------------------------------

    def add(self, by_kind: Tensor, fields: dict[str, Any]) -> None:
        """One micro batch of this worker: its summed losses by kind, and the fields of its rows."""
        self._losses += by_kind
        self._counts += counts_of(fields)

    def norm(self, value: float | None) -> None:
        """The gradient's norm in the latest step, before it was clipped."""
        self._norm = value

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent in here is no training time."""
        began = time.monotonic()
        yield
        away = time.monotonic() - began
        self._began += away
        self._line_time += away

    # --- lines -------------------------------------------------------------------------------------------------------

    def log(self, step: int, rate: float, extra: dict[str, Any] | None = None) -> None:
        """All workers: write a line about the steps since the last one; `extra` stands in it as it is."""
        sums = torch.cat([self._losses.double(), torch.from_numpy(self._counts).to(self._losses.device)])
        torch.distributed.all_reduce(sums)
        peak = torch.tensor(_peak_bytes(self._device), dtype=torch.float64, device=sums.device)
        torch.distributed.all_reduce(peak, torch.distributed.ReduceOp.MAX)
        values = sums.tolist()
        line = self._line(step, values[:_KINDS], values[_KINDS:]) | {"learning_rate": rate}
        line |= {"memory_gib": round(float(peak) / 2**30, 3), "gradient_norm": self._norm} | (extra or {})
        if self._rank == 0:
            self._write(step, line)
        self._new_window()

    def _line(self, step: int, losses: list[float], counts: list[float]) -> dict[str, Any]:
        supervised, tokens, positions = counts[:_KINDS], counts[_KINDS], counts[_KINDS + 1]
        self._total[0] += int(tokens)
        self._total[1] += int(sum(supervised))
        away = max(1e-9, time.monotonic() - self._line_time)
        line = {
            "step": step,
            "steps": self._steps,
            **mean_losses(losses, supervised),
            "tokens": self._total[0],
            "supervised_tokens": self._total[1],
            "tokens_per_s": round(tokens / away, 1),
            "padding": round(1 - tokens / max(1.0, positions), 5),
            "seconds": round(self._elapsed(), 3),
        }
        share = self._share_of_peak(tokens, sum(supervised), away)
        return line if share is None else line | {"mfu": round(share, 4)}

    def _share_of_peak(self, tokens: float, supervised: float, seconds: float) -> float | None:
        """Model FLOPs utilisation of all devices, where the device's bf16 peak is known and used."""
        if self._work is None or self._device.type != "cuda" or self._config.precision is Precision.FP32:
            return None
        peak = peak_flops(torch.cuda.get_device_name(self._device))
        world = torch.distributed.get_world_size()
        return None if peak is None else self._work.flops(tokens, supervised) / seconds / (peak * world)

    def _write(self, step: int, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for tracker in self._trackers:
            tracker.log(step, flat(line))

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._began


def counts_of(fields: dict[str, Any]) -> Any:
    """Supervised tokens of each kind, tokens and positions of some rows (NumPy arrays), as one array of numbers."""
    kinds = np.bincount(fields["kinds"][fields["labels"] >= 0], minlength=_KINDS)
    return np.concatenate([kinds, [(fields["documents"] >= 0).sum(), fields["ids"].size]])


def mean_losses(losses: list[float], supervised: list[float]) -> dict[str, Any]:
    """The mean `loss` over supervised tokens, and `losses` by name of the kinds that there are."""
    told = {
        kind.name.lower(): losses[kind] / supervised[kind]
        for kind in Kind
        if supervised[kind] and kind is not Kind.NONE
    }
    return {"loss": sum(losses) / max(1.0, sum(supervised)), "losses": told}


def _peak_bytes(device: Any) -> int:
    """The most memory so far: of the device, or of this process on CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
