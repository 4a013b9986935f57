"""Losses and gradients that are no numbers: who meets one stops, names it, and leaves nothing behind.

Every worker notes its losses where they were computed and looks at them when a line is written, so nobody waits for a
device at each step. It knows numbers and steps; the driver turns rows into names of examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sprint.files import read_json, write_json
from train.checkpoints import latest
from train.data import members

_FILE = "fault.json"
_NAMED = 5  # examples that a sentence names


@dataclass(frozen=True, slots=True)
class Fault:
    """The first loss or gradient of a run that is not a finite number. `rows` are those that gave it."""

    what: str
    step: int
    rows: tuple[int, ...]

    def save(self, run: Path) -> None:
        write_json(run / _FILE, asdict(self))

    @staticmethod
    def forget(run: Path) -> None:
        """A run that goes on begins without the fault that stopped it."""
        (run / _FILE).unlink(missing_ok=True)

    @staticmethod
    def load(run: Path) -> Fault | None:
        """The fault that stopped a run, if one did."""
        if not (run / _FILE).exists():
            return None
        values = read_json(run / _FILE)
        return Fault(values["what"], values["step"], tuple(values["rows"]))


def told(fault: Fault, run: Path, ids: Sequence[str]) -> str:
    """One sentence about a fault of the run in folder `run`, which trains on the examples `ids`."""
    examples = members(run / "rows")
    names = [repr(ids[index]) for row in fault.rows for index in examples[row]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    before = latest(run)
    intact = f"the checkpoint of step {before.step} is intact" if before else "there is no checkpoint yet"
    return (
        f"the {fault.what} of step {fault.step} is not a finite number, with the examples "
        f"{', '.join(names[:_NAMED])}{more} in it; {intact}, nothing was exported; see {run}"
    )


class NotFinite(Exception):
    """Raised by every worker at once."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"the {fault.what} of step {fault.step} is not a finite number")
        self.fault = fault


class Watch:
    """Losses of this worker's micro batches, and gradient norms, since the last look."""

    def __init__(self, order: Any, device: Any) -> None:
        self._order, self._device = order, device
        self._losses: list[Any] = []
        self._norms: list[float] = []

    def loss(self, value: Any) -> None:
        """The loss of one micro batch, still on its device."""
        self._losses.append(value)

    def norm(self, value: float) -> None:
        """The gradient's norm after a step, the same for all workers."""
        self._norms.append(value)

    def look(self, step: int) -> None:
        """All workers, after `step` steps: raises NotFinite in all of them when one noted what is no finite number."""
        first = step - len(self._norms)  # steps since the last look begin here, from 0
        bad = self._bad_losses()
        norms = [i for i, norm in enumerate(self._norms) if not math.isfinite(norm)]
        self._losses, self._norms = [], []
        if bad and (not norms or bad[0][0] <= norms[0]):
            at, rank, micro = bad[0]
            raise NotFinite(Fault("loss", first + at + 1, tuple(self._order.worker_rows(first + at, rank)[micro])))
        if norms:
            rows = tuple(self._order.step_rows(first + norms[0]))
            raise NotFinite(Fault("gradient", first + norms[0] + 1, rows))

    def _bad_losses(self) -> list[tuple[int, int, int]]:
        """Step since the last look, worker and micro step of each loss that is no finite number, in order."""
        import torch

        if not self._losses:
            return []
        mine = torch.stack(self._losses).float().to(self._device)
        everyone = [torch.empty_like(mine) for _ in range(self._order.world)]
        torch.distributed.all_gather(everyone, mine)
        table = torch.stack(everyone).reshape(self._order.world, -1, self._order.accumulation)
        bad = (~table.isfinite()).nonzero().tolist()
        return sorted((step, rank, micro) for rank, step, micro in bad)
