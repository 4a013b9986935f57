"""Checkpoints of a run, and the weights it ends with. Every worker takes part; it knows no loop and no data."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

_ENGINE = "engine"  # DeepSpeed's files inside a checkpoint


def restore(engine: Any) -> dict[str, Any] | None:
    """Bring the engine back to the last checkpoint of this run; the state saved beside it, or None if there is none."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        path, state = engine.load_checkpoint(os.path.join(folder, _ENGINE))
    assert path is not None, "a checkpoint without an engine"
    found: dict[str, Any] = state
    return found


def save(engine: Any, state: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Report a checkpoint of the engine with `state` beside it."""
    import ray.train
    from ray.train import Checkpoint

    folder = tempfile.mkdtemp()
    try:
        engine.save_checkpoint(os.path.join(folder, _ENGINE), client_state=state)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def save_weights(engine: Any, folder: Path, rank: int, zero_stage: int) -> None:
    """Rank 0 writes the weights; under ZeRO-3 all ranks take part in gathering them."""
    weights = engine._zero3_consolidated_16bit_state_dict() if zero_stage == 3 else engine.module.state_dict()
    if rank == 0:
        lm = engine.module.lm
        own = {name.removeprefix("lm."): value for name, value in weights.items()}
        lm.config.use_cache = True
        lm.save_pretrained(str(folder), state_dict=own)
