"""What a training run may not be told, although each option by itself is fine: found before anything is written.

It knows settings, which packages there are and where things may be written; nothing of models or data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sprint.errors import ConfigError
from train import zero
from train.config import SCRATCH, OptimizerName, TrainConfig
from train.files import existing
from train.options import Where

# What a run keeps in its folder, where a model would take its place.
_OWN = {"rows", "validation", "weights", "best", "start", "checkpoints", "tensorboard"}


def check_settings(config: TrainConfig) -> None:
    """Refuse combinations that cannot work here. Raises ConfigError in one sentence."""
    from train.losses import resolve

    _check_idle(config)
    _check_lora(config)
    _check_places(config)
    resolve(config.cross_entropy, config.use_gpu)
    reason = zero.impossible(config) or _no_disk_reader(config)
    if reason:
        raise ConfigError(f"offload: {reason}", field="offload")
    if config.tracking.wandb and find_spec("wandb") is None:
        raise ConfigError(
            "tracking.wandb: the package wandb is not installed, expected it or no wandb", field="tracking.wandb"
        )


def check_room(workers: int, each: Mapping[str, float], there: Mapping[str, float]) -> None:
    """Refuse to wait for what a machine will never have. `each`: what a worker takes. Raises ConfigError."""
    for name, amount in each.items():
        if workers * amount > there.get(name, 0.0):
            raise ConfigError(
                f"workers: {workers} workers take {workers * amount:g} {name}, but here are {there.get(name, 0.0):g}, "
                f"expected fewer, or a cluster in RAY_ADDRESS",
                field="workers",
            )


def _check_idle(config: TrainConfig) -> None:
    """Options that would do nothing, as the one that turns their section on is missing."""
    offloaded = Where.NVME in (config.offload.optimizer, config.offload.parameters)
    sections = (("check", "every", config.check.every), ("validation", "share", config.validation.share))
    for name, switch, is_on in (*sections, ("offload", "optimizer = nvme", offloaded)):
        section = getattr(config, name)
        default = type(section)()
        idle = [key for key in type(section).model_fields if getattr(section, key) != getattr(default, key)]
        idle = idle if name != "offload" else [key for key in idle if key == "nvme"]
        if idle and not is_on:
            raise ConfigError(
                f"{name}.{idle[0]} does nothing without {name}.{switch}, expected that too", field=f"{name}.{idle[0]}"
            )


def _check_places(config: TrainConfig) -> None:
    """A model may take the place of an earlier one, but not of the run, of what it is made of, or where it cannot."""
    export, folder = config.export_folder.resolve(), config.folder.resolve()
    inside = export.relative_to(folder).parts[:1] if export.is_relative_to(folder) else ()
    if folder.is_relative_to(export) or _OWN & set(inside):
        raise ConfigError(f"export: {export} would take the place of the run's own files, expected another folder")
    if config.start != SCRATCH and Path(config.start).exists() and Path(config.start).resolve() == export:
        raise ConfigError(f"export: {export} is the model to start from, expected another folder", field="export")
    for name, place in (("out", folder), ("export", export)):
        above = existing(place)
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise ConfigError(
                f"{name}: nothing can be written to {above}, expected a folder that allows it", field=name
            )


def _check_lora(config: TrainConfig) -> None:
    lora = config.lora
    if not lora.rank:
        if lora.model_fields_set - {"rank"}:
            option = sorted(lora.model_fields_set - {"rank"})[0]
            raise ConfigError(f"lora.{option} is given without lora.rank, expected a rank too", field="lora.rank")
        return
    if config.start == SCRATCH:
        raise ConfigError("lora: start is scratch, expected a trained model to adapt", field="lora")
    if config.optimizer is OptimizerName.MUON:
        raise ConfigError("lora: adapters are not for muon, expected optimizer adamw", field="lora")


def _no_disk_reader(config: TrainConfig) -> str | None:
    """NVMe goes through DeepSpeed's asynchronous reader, which is compiled against libaio on first use."""
    if Where.NVME not in (config.offload.optimizer, config.offload.parameters):
        return None
    from deepspeed.ops.op_builder import AsyncIOBuilder

    if not AsyncIOBuilder().is_compatible(verbose=False):
        return "nvme needs the library libaio with its headers, which DeepSpeed does not find here, expected cpu"
    return None
