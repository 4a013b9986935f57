"""The random numbers of a worker's process: Python's, NumPy's, torch's and the GPU's. They matter with dropout.

It knows no checkpoints but the file it is given.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, rank: int) -> None:
    """Each worker's own numbers, the same in every run with this seed."""
    own = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)  # of all GPUs too


def save_states(path: Path) -> None:
    """Write the state of every generator. Raises OSError."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }
    torch.save(states, path)


def load_states(path: Path) -> None:
    """Go on with the numbers that would have come next when the file was written."""
    states = torch.load(path, weights_only=False)
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
