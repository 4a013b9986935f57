"""Where metrics go beside `metrics.jsonl`: TensorBoard's event files, Weights & Biases.

It knows lines of numbers and nothing of what they count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from train.config import TrainConfig

TENSORBOARD = "tensorboard"
_NOT_DRAWN = ("step", "steps")


class Tracker(Protocol):
    """Receives every metrics line, flattened: names such as `loss` and `losses/plan`."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def open_trackers(config: TrainConfig, step: int) -> list[Tracker]:
    """Those that `tracking` asks for, in a run that goes on after `step`."""
    found: list[Tracker] = []
    if config.tracking.tensorboard:
        found.append(_TensorBoard(config.folder / TENSORBOARD, step))
    if config.tracking.wandb:
        found.append(_WandB(config, config.tracking.wandb))
    return found


def flat(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a line, nested ones by path."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and prefix + name not in _NOT_DRAWN:
            found[prefix + name] = float(value)
    return found


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        # What a stopped run wrote after its checkpoint is hidden, as those steps come again.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    """One W&B run per run of ours, also when it is resumed."""

    def __init__(self, config: TrainConfig, project: str) -> None:
        import wandb

        settings = config.model_dump(mode="json")
        folder, id = str(config.folder), re.sub(r"[#?%:]", "-", config.name)  # signs that W&B refuses
        self._run = wandb.init(project=project, name=config.name, id=id, resume="allow", dir=folder, config=settings)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
