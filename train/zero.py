"""DeepSpeed's configuration of a run: what ZeRO splits, what is kept elsewhere. It knows no loop and no data."""

from __future__ import annotations

import importlib.util
from typing import Any

from train.config import Precision, TrainConfig


def engine_config(config: TrainConfig, micro_rows: int, num_parameters: int) -> dict[str, Any]:
    """DeepSpeed's configuration. Buckets are no larger than the model, as they are allocated whole."""
    bucket = max(1, min(int(5e8), num_parameters))
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "overlap_comm": config.use_gpu,
        "sub_group_size": int(1e12),  # one piece per parameter group, as Muon expects
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    return {
        "train_micro_batch_size_per_gpu": micro_rows,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": config.precision is Precision.BF16},
        "steps_per_print": 2**31,
    }


def before_loading(config: TrainConfig, settings: dict[str, Any]) -> object:
    """Under ZeRO-3 weights are split while they are read; `transformers` asks this object, kept alive, about it.

    It does so through `accelerate`; without that package every worker reads the whole model and then splits it.
    """
    if config.zero_stage < 3 or importlib.util.find_spec("accelerate") is None:
        return None
    from transformers.integrations import HfDeepSpeedConfig

    return HfDeepSpeedConfig(settings)
