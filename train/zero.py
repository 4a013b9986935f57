"""DeepSpeed's configuration of a run: what ZeRO splits, what is kept elsewhere. It knows no loop and no data."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

from train.config import OptimizerName, Precision, TrainConfig
from train.options import Where

_ONE_PIECE = int(1e12)  # one piece of weights per parameter group, as Muon expects
_NVME_PIECE = int(1e8)  # what travels between disk and memory at once, in weights


def engine_config(config: TrainConfig, micro_rows: int, num_parameters: int) -> dict[str, Any]:
    """DeepSpeed's configuration. Buckets are no larger than the model, as they are allocated whole."""
    bucket = max(1, min(int(5e8), num_parameters))
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "overlap_comm": config.use_gpu,
        "sub_group_size": _NVME_PIECE if config.offload.optimizer is Where.NVME else _ONE_PIECE,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    return {
        "train_micro_batch_size_per_gpu": micro_rows,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": _clip(config),
        "zero_optimization": zero | _offload(config),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own has to be compiled; torch's fused AdamW is there
        "bf16": {"enabled": config.precision is Precision.BF16},
        "steps_per_print": 2**31,
    }


def _clip(config: TrainConfig) -> float:
    """The limit; where DeepSpeed takes the norm only to clip, one that nothing reaches, so that it is taken."""
    plain = config.zero_stage == 0 and config.precision is not Precision.BF16
    return config.clip or (math.inf if plain else 0.0)


def _offload(config: TrainConfig) -> dict[str, Any]:
    """ZeRO's sections for what is kept in CPU memory or on disk."""
    places = {"offload_optimizer": config.offload.optimizer, "offload_param": config.offload.parameters}
    return {
        name: {"device": str(where), "pin_memory": config.use_gpu}
        | ({"nvme_path": str(config.offload.nvme)} if where is Where.NVME else {})
        for name, where in places.items()
        if where is not Where.DEVICE
    }


def impossible(config: TrainConfig) -> str | None:
    """Why DeepSpeed cannot keep things where `offload` wants them, in a sentence; None when it can."""
    offload, stage = config.offload, config.zero_stage
    if Where.DEVICE is offload.optimizer is offload.parameters:
        return None
    if config.optimizer is OptimizerName.MUON:
        return "muon steps on the device, expected optimizer adamw"
    if offload.optimizer is not Where.DEVICE and stage == 0:
        return f"optimizer = {offload.optimizer} needs zero_stage 1, 2 or 3, found 0"
    if offload.optimizer is Where.NVME and stage != 3:
        return f"optimizer = nvme needs zero_stage 3, found {stage}"
    if offload.parameters is not Where.DEVICE and stage != 3:
        return f"parameters = {offload.parameters} needs zero_stage 3, found {stage}"
    return None


def before_loading(config: TrainConfig, settings: dict[str, Any]) -> object:
    """Under ZeRO-3 weights are split while they are read; `transformers` asks this object, kept alive, about it.

    It does so through `accelerate`; without that package every worker reads the whole model and then splits it.
    """
    if config.zero_stage < 3 or importlib.util.find_spec("accelerate") is None:
        return None
    from transformers.integrations import HfDeepSpeedConfig

    return HfDeepSpeedConfig(settings)
