"""What workers do in the tests of checkpoints: train, save, go on, meet a full disk, leave weights; and note it."""

from __future__ import annotations

import json
import random
import resource
import signal
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sprint.errors import SprintError
from tests.edge import engines
from train.checkpoints import Checkpoints
from train.weights import save_weights

SAVED, LAST = 2, 4  # steps

Case = dict[str, Any]
CASES: list[Case] = [
    {"optimizer": "adamw", "zero_stage": 0},
    {"optimizer": "adamw", "zero_stage": 1},
    {"optimizer": "muon", "zero_stage": 2},
    {"optimizer": "adamw", "zero_stage": 3},
]
ALL_CASES: list[Case] = [
    {"optimizer": optimizer, "zero_stage": stage, "precision": precision}
    for optimizer, stage, precision in product(("adamw", "muon"), range(4), ("fp32", "bf16"))
]


def name(case: Case) -> str:
    return "-".join(map(str, case.values()))


def rounding(case: Case) -> float:
    """How far losses may lie apart, as a share: bf16, in the weights or in Muon's products, rounds anew."""
    if case.get("precision") == "bf16":
        return 2e-4
    return 2e-5 if case["optimizer"] == "muon" else 1e-6


def checkpoints(run: Path) -> Checkpoints:
    return Checkpoints(run, keep=2, keep_best=0, seed=7)


def trained(case: Case, run: Path, world: int) -> list[float]:
    """Losses of an uninterrupted run that leaves a checkpoint on the way."""
    config = engines.config(world, **case)
    engine = engines.engine(config)
    there = checkpoints(run)
    assert there.restore(engine) is None
    found = engines.losses(engine, config, 1, SAVED)
    there.save(engine, SAVED, {"seen": "before"})
    return found + engines.losses(engine, config, SAVED + 1, LAST)


def resumed(case: Case, run: Path, world: int, dropout: float = 0.0) -> list[float]:
    """Losses after the checkpoint, in a fresh engine."""
    config = engines.config(world, **case)
    engine = engines.engine(config, dropout)
    assert checkpoints(run).restore(engine) == {"seen": "before"}
    return engines.losses(engine, config, SAVED + 1, LAST)


def write(root: Path, cases: list[Case], world: int) -> None:
    """In each worker: every case once without a break and once from its checkpoint."""
    noted = {}
    for case in cases:
        whole = trained(case, root / name(case), world)
        noted[name(case)] = {"whole": whole, "resumed": resumed(case, root / name(case), world)}
    note(root / f"written-by-{world}.json", noted)


def note(path: Path, values: object) -> None:
    if torch.distributed.get_rank() == 0:
        path.write_text(json.dumps(values))


def go_on(root: Path, cases: list[Case], world: int) -> None:
    """In each worker: every case from the checkpoint of others."""
    note(
        root / f"gone-on-with-by-{world}.json", {name(case): resumed(case, root / name(case), world) for case in cases}
    )


def with_dropout(root: Path) -> None:
    """The random numbers of two workers, which differ, go on where they stopped."""
    config = engines.config(2, zero_stage=1)
    engine = engines.engine(config, dropout=0.5)
    there = checkpoints(root / "dropout")
    there.restore(engine)
    engines.losses(engine, config, 1, SAVED)
    there.save(engine, SAVED, {"seen": "before"})
    whole = engines.losses(engine, config, SAVED + 1, LAST)
    numbers = [random.random(), float(np.random.random()), float(torch.rand(()))]
    again = resumed({"zero_stage": 1}, root / "dropout", 2, dropout=0.5)
    assert numbers == [random.random(), float(np.random.random()), float(torch.rand(()))]
    there.restore(engine)
    torch.manual_seed(1)
    other = engines.losses(engine, config, SAVED + 1, LAST)
    everyone: list[Any] = [None, None]
    torch.distributed.all_gather_object(everyone, numbers)
    note(root / "dropout.json", {"whole": whole, "again": again, "other": other, "numbers": everyone})


def on_a_full_disk(root: Path) -> None:
    """The second checkpoint meets a limit on the size of files. The worker that meets it notes the error."""
    config = engines.config(2, zero_stage=1)
    engine = engines.engine(config)
    there = checkpoints(root / "full")
    there.restore(engine)
    there.save(engine, 1, {"seen": "before"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if torch.distributed.get_rank() == 0:  # the other one waits for it, in vain
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            there.save(engine, 2, {"seen": "after"})
        except SprintError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            (root / "full.txt").write_text(str(error))
            raise
    there.save(engine, 2, {"seen": "after"})


def exported(root: Path) -> None:
    """Weights of ZeRO-3 in bf16, and merged adapters, as ordinary models."""
    from train.lora import adapt
    from train.options import LoraConfig

    engine = engines.engine(engines.config(2, zero_stage=3, precision="bf16"))
    save_weights(engine, root / "bf16")
    lora = engines.engine(engines.config(2, zero_stage=1), prepare=lambda lm: adapt(lm, LoraConfig(rank=2)))
    engines.losses(lora, engines.config(2), 1, 1)
    save_weights(lora, root / "lora")


def two_workers(root: Path, cases: list[Case]) -> None:
    write(root, cases, 2)
    with_dropout(root)
    exported(root)
    on_a_full_disk(root)
