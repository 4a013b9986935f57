"""Losses, tokens and seconds of a run: each worker counts, rank 0 writes the lines. It knows no model and no data."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from sprint.files import write_jsonl
from train.progress import whole_lines


class Meter:
    """Losses and tokens. Sums stay where they are computed; workers meet over them only when a line is written."""

    def __init__(self, path: Path, steps: int, rank: int, device: Any) -> None:
        self._path, self._steps, self._rank = path, steps, rank
        self._loss = torch.zeros((), device=device)
        self._window = [0, 0]  # tokens, supervised tokens since the last line
        self._total = [0, 0]
        self._seconds = 0.0
        self._began = self._line_time = time.monotonic()

    def state(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"total": list(self._total), "seconds": self._elapsed()}

    def restore(self, state: dict[str, Any]) -> None:
        self._total, self._seconds = list(state["total"]), float(state["seconds"])

    def begin(self, step: int) -> None:
        """Start the clock; lines of steps after `step`, left by a run that stopped, are taken back."""
        self._began = self._line_time = time.monotonic()
        if self._rank == 0 and self._path.exists():
            write_jsonl(self._path, [line for line in whole_lines(self._path) if line["step"] <= step])

    def add(self, loss: Any) -> None:
        self._loss += loss

    def count(self, tokens: int, supervised: int) -> None:
        """Tokens of one step, of all workers."""
        for counts in (self._window, self._total):
            counts[0] += tokens
            counts[1] += supervised

    def log(self, step: int, rate: float) -> None:
        """Write the mean loss since the last line."""
        torch.distributed.all_reduce(self._loss)
        now = time.monotonic()
        line = {
            "step": step,
            "steps": self._steps,
            "loss": float(self._loss) / max(1, self._window[1]),
            "learning_rate": rate,
            "tokens": self._total[0],
            "supervised_tokens": self._total[1],
            "tokens_per_s": round(self._window[0] / max(1e-9, now - self._line_time), 1),
            "seconds": round(self._elapsed(), 3),
        }
        if self._rank == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self._loss.zero_()
        self._window, self._line_time = [0, 0], now

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._began
