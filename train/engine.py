"""A DeepSpeed engine around the model that a run starts from.

It knows models, optimizers and ZeRO; no data and no loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    optimizer = make_optimizer(model, config)
    with _at_rest(optimizer, config):
        engine = deepspeed.initialize(
            model=model,
            model_parameters=[p for _, p in lora.learning(model)],
            optimizer=optimizer,
            config=settings,
        )[0]
    _keep_norms(engine)
    return engine, kept


@contextmanager
def _at_rest(optimizer: Any, config: TrainConfig) -> Iterator[None]:
    """While DeepSpeed takes the optimizer over: in bf16 without ZeRO it steps once on gradients of zero.

    That step would decay the weights and count as Adam's first, after which the first real ones are too small.
    """
    if config.zero_stage or config.precision is not Precision.BF16:
        yield
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    yield
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.state.clear()


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
