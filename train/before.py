"""What is checked before a run or a dry run begins, and found wrong in a sentence. Nothing is written here."""

from __future__ import annotations

from pathlib import Path

from train import format_check
from train.config import SCRATCH, TrainConfig
from train.export import check_target
from train.reading import Curated, read_curated
from train.refusals import check_settings
from train.resume import check_name
from train.validation import split


def checked(config: TrainConfig) -> tuple[TrainConfig, Curated, Curated, Curated | None]:
    """The settings with absolute paths, the whole set, what is trained on and what is held out.

    Raises ConfigError or InputError for whatever can be wrong before rows are made.
    """
    config = _absolute(config)
    check_settings(config)
    format_check.check_settings(config)
    curated = read_curated(config.data)
    training, held_out = split(curated, config)
    check_target(config.export_folder)
    check_name(config)
    return config, curated, training, held_out


def _absolute(config: TrainConfig) -> TrainConfig:
    """Paths that mean the same in a worker, which runs in a folder of its own."""
    paths: dict[str, object] = {"data": config.data.absolute(), "out": config.out.absolute()}
    if config.export:
        paths["export"] = config.export.absolute()
    if config.offload.nvme:
        paths["offload"] = config.offload.model_copy(update={"nvme": config.offload.nvme.absolute()})
    if config.start != SCRATCH and Path(config.start).exists():
        paths["start"] = str(Path(config.start).absolute())
    return config.model_copy(update=paths)
