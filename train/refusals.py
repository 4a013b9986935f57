"""What a training run may not be told, although each option by itself is fine: found before anything is written.

It knows settings and which packages there are; nothing of models or data.
"""

from __future__ import annotations

from importlib.util import find_spec

from sprint.errors import ConfigError
from train import zero
from train.config import SCRATCH, OptimizerName, TrainConfig
from train.options import Where


def check_settings(config: TrainConfig) -> None:
    """Refuse combinations that cannot work here. Raises ConfigError in one sentence."""
    from train.losses import resolve

    _check_lora(config)
    resolve(config.cross_entropy, config.use_gpu)
    reason = zero.impossible(config) or _no_disk_reader(config)
    if reason:
        raise ConfigError(f"offload: {reason}", field="offload")
    if config.tracking.wandb and find_spec("wandb") is None:
        raise ConfigError(
            "tracking.wandb: the package wandb is not installed, expected it or no wandb", field="tracking.wandb"
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
