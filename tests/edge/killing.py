"""Workers that are killed at planned steps, each once: a plan is a folder with one file per step, naming the rank.

python -m tests.edge.killing SETTINGS.json PLAN       trains under a plan; for tests that kill the driver as well
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def make_plan(folder: Path, kills: Mapping[int, int]) -> Path:
    """Kill the worker of a rank before each of these steps (from 0)."""
    folder.mkdir(parents=True)
    for step, rank in kills.items():
        (folder / str(step)).write_text(str(rank))
    return folder


def deadly(plan: Path) -> Callable[[dict[str, Any]], None]:
    """A training function under a plan. It travels to the workers by value."""
    place = str(plan.absolute())

    def function(settings: dict[str, Any]) -> None:
        import os
        import signal
        from pathlib import Path

        import train.loop

        step = train.loop._Trainer._optimizer_step

        def fatal_step(self: Any) -> None:
            planned = Path(place) / str(self.step)
            if planned.exists() and self.rank == int(planned.read_text()):
                planned.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            step(self)

        train.loop._Trainer._optimizer_step = fatal_step  # type: ignore[method-assign]
        train.loop.worker(settings["job"])

    return function


def main(settings: str, plan: str) -> None:
    from sprint.config import validate
    from train import run as driver
    from train.config import TrainConfig

    driver._train_on_worker = deadly(Path(plan))
    config = validate(TrainConfig, json.loads(Path(settings).read_text()), "test")
    print(driver.train(config, lambda line: None).model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
