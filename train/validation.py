"""Examples that are never trained on: which they are, what the model loses on them, and when that says to stop.

Every worker reads its share of their rows. It knows rows and losses; nothing of optimizers or checkpoints.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

from sprint.errors import ConfigError
from train.config import TrainConfig
from train.data import Rows
from train.options import ValidationConfig
from train.reading import Curated

HELD_OUT = "validation"  # the folder of their rows, in the run's folder
BEST = "best"  # the folder of the weights with the lowest loss, in the run's folder

Batch = Callable[[dict[str, Any]], dict[str, Any]]


def split(curated: Curated, config: TrainConfig) -> tuple[Curated, Curated | None]:
    """The examples to train on, and those to validate on, if there is a share of them.

    An example is held out by a hash of its id and the seed, so it is whatever else is in the set, and its twin in the
    other method's set is too. Raises ConfigError when none are held out, or all.
    """
    share = config.validation.share
    if not share:
        return curated, None
    held = [is_held_out(id, config.seed, share) for id in curated.ids]
    if not any(held) or all(held):
        raise ConfigError(
            f"validation.share = {share} of {len(held)} examples holds out {sum(held)}, expected some and not all",
            field="validation.share",
        )
    return _chosen(curated, [not is_held for is_held in held]), _chosen(curated, held)


def is_held_out(id: str, seed: int, share: float) -> bool:
    digest = hashlib.sha256(f"{seed} {id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _chosen(curated: Curated, wanted: list[bool]) -> Curated:
    columns = (curated.ids, curated.questions, curated.texts)
    ids, questions, texts = (
        tuple(value for value, is_wanted in zip(column, wanted, strict=True) if is_wanted) for column in columns
    )
    return Curated(ids, questions, texts, curated.method)


class Validation:
    """One worker's hand in evaluating the held-out rows."""

    def __init__(self, rows: Rows, micro_rows: int, rank: int, world: int) -> None:
        self._rows, self._rank = rows, rank
        size = world * micro_rows
        self._steps = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        self._world = world

    def losses(self, engine: Any, batch: Batch) -> dict[str, Any]:
        """All workers: the mean loss over every held-out supervised token, and by kind; see `meter.mean_losses`.

        `batch` brings a batch's fields to the device. A worker without rows left reads one again and forgets it, as
        under ZeRO-3 all take part in every forward.
        """
        import torch

        from train.meter import counts_of, mean_losses

        engine.eval()
        found: list[torch.Tensor] = []
        with torch.no_grad():
            for indices in self._steps:
                mine = list(indices)[self._rank :: self._world]
                taken = mine or [indices[0]]
                fields = self._rows.take(taken)
                engine(batch(fields), bool(self._rows.plain[taken].all()))
                by_kind = engine.module.by_kind.double()
                counts = torch.from_numpy(counts_of(fields)[: len(by_kind)]).to(by_kind)
                found.append(torch.stack([by_kind, counts]) * bool(mine))
        engine.train()
        sums = torch.stack(found).sum(0)
        torch.distributed.all_reduce(sums)
        losses, supervised = sums.tolist()
        return mean_losses(losses, supervised)


class Stopping:
    """The lowest validation loss so far, and whether it is time to stop."""

    def __init__(self, config: ValidationConfig) -> None:
        self._patience = config.patience
        self.best = math.inf
        self._since = 0

    def is_better(self, loss: float) -> bool:
        """Take note of an evaluation; whether its loss is the lowest so far."""
        better = loss < self.best
        self.best, self._since = (loss, 0) if better else (self.best, self._since + 1)
        return better

    @property
    def is_over(self) -> bool:
        return self._patience is not None and self._since >= self._patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"best": self.best if math.isfinite(self.best) else None, "since": self._since}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = math.inf if state["best"] is None else float(state["best"])
        self._since = int(state["since"])
