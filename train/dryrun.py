"""`sprint train --dry-run`: everything that is checked before a run is checked, and what it would take is said.

Rows are packed in a folder that disappears, and no worker starts. It knows the driver's steps, not what they do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from sprint.card import Method
from sprint.errors import SprintError
from train.before import checked
from train.config import TrainConfig
from train.estimate import Estimate, estimate
from train.estimate_table import table
from train.files import existing
from train.resume import check_steps
from train.run import check_rows, make_rows


def dry_run(config: TrainConfig, say: Callable[[str], None] = print) -> Estimate:
    """Say what a run would take.

    Raises what `train.run.train` would before it starts, and SprintError when it will not fit.
    """
    from transformers import AutoConfig

    config, curated, training, held_out = checked(config)
    with tempfile.TemporaryDirectory(prefix="dry-run-", dir=existing(config.out)) as folder:
        aside = config.model_copy(update={"out": Path(folder)})
        job, info, _, card = make_rows(aside, curated, training, held_out)
        model = AutoConfig.from_pretrained(job.start)
    check_rows(config, info.fingerprint)
    check_steps(config, job.micro_rows, job.steps)
    # Sequential examples have no branches in any layout.
    shape = config.model_copy(update={"layout": "flat"}) if card.method is Method.RFT else config
    found = estimate(shape, info, model, job.micro_rows, job.steps)
    say(f"training {config.name} would take ({card.method}, from {config.start}):")
    for line in table(found):
        say(line)
    if found.problem:
        raise SprintError(found.problem)
    say("it fits" if found.disk <= found.free_disk else "it fits the devices, but not this disk")
    return found
