"""A DeepSpeed engine around the model that a run starts from.

It knows models, optimizers and ZeRO; no data and no loop.
"""

from __future__ import annotations

from typing import Any

from train import lora
from train.config import Precision, TrainConfig
from train.losses import resolve
from train.models import SupervisedLoss, load
from train.optim import make_optimizer
from train.options import Attention
from train.zero import before_loading, engine_config


def make_engine(config: TrainConfig, start: str, micro_rows: int, attention: Attention) -> tuple[Any, object]:
    """The engine; `engine.module` is a SupervisedLoss. The second value has to live as long as the engine."""
    import deepspeed

    kept = before_loading(config, engine_config(config, micro_rows, 0))
    lm = load(start, config.precision is Precision.BF16, config.gradient_checkpointing, attention)
    lora.adapt(lm, config.lora)
    how = resolve(config.cross_entropy, config.use_gpu)
    model = SupervisedLoss(lm, config.precision is Precision.AUTOCAST, attention, how)
    settings = engine_config(config, micro_rows, sum(p.numel() for _, p in lora.learning(model)))
    engine = deepspeed.initialize(
        model=model,
        model_parameters=[p for _, p in lora.learning(model)],
        optimizer=make_optimizer(model, config),
        config=settings,
    )[0]
    _keep_norms(engine)
    return engine, kept


def _keep_norms(engine: Any) -> None:
    """Without ZeRO, in fp32, DeepSpeed clips gradients and forgets their norm: keep it where it keeps the others'."""
    import torch

    if engine.zero_optimization() or engine.bfloat16_enabled():
        return

    def clip() -> None:
        limit = engine.gradient_clipping()
        engine._global_grad_norm = torch.nn.utils.clip_grad_norm_(engine.module.parameters(), limit)

    engine.clip_fp32_gradients = clip


def gradient_norm(engine: Any) -> float | None:
    """Of the latest step, over all parameters and workers, before clipping; None where DeepSpeed does not tell."""
    norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm)
