"""Optimizers and the learning rate's course. It knows parameters and DeepSpeed's Muon, nothing of data or Ray.

Muon takes the momentum of a matrix's gradient to its nearest orthogonal matrix and steps along that; embeddings, norms,
biases and the head keep AdamW. DeepSpeed's optimizer of that kind is used because ZeRO knows it: a rank orthogonalises
only the matrices of its own partition. Three of its defaults are changed here:

* Newton-Schulz in bf16 over the whole matrix (`standard`), the iteration of `torch.optim.Muon`;
* AdamW's part is its own inline update: nothing is compiled;
* DeepSpeed's gradient clipping stays off, because it would come after the orthogonalisation and shrink a step whose
  length is fixed by construction. A hook clips the gradients of AdamW's part instead.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from train.config import OptimizerName, Schedule, TrainConfig

_EPS = 1e-8


def rate_factor(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`, as a share of the peak."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(1.0, step / steps)
    falling = {
        Schedule.COSINE: 0.5 * (1 + math.cos(math.pi * progress)),
        Schedule.LINEAR: 1 - progress,
        Schedule.CONSTANT: 1.0,
    }[config.schedule]
    return warm * (config.final_rate + (1 - config.final_rate) * falling)


def set_rate(optimizer: Any, peaks: list[float], factor: float) -> None:
    """Give every parameter group its peak rate times `factor`."""
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer to hand to `deepspeed.initialize`."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    betas = (config.beta1, config.beta2)
    if config.optimizer is OptimizerName.ADAMW:
        groups = _adamw_groups(named, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=_EPS)
    return _muon(named, config, betas)


def deepspeed_clip(config: TrainConfig) -> float:
    """The gradient norm that DeepSpeed itself clips to; 0 where the optimizer does its own."""
    return config.clip if config.optimizer is OptimizerName.ADAMW else 0.0


def _adamw_groups(named: list[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms and biases do not."""
    matrices = {"params": [p for _, p in named if _num_dims(p) > 1], "weight_decay": decay}
    vectors = {"params": [p for _, p in named if _num_dims(p) <= 1], "weight_decay": 0.0}
    return [group for group in (matrices, vectors) if group["params"]]


def _muon(named: list[tuple[str, nn.Parameter]], config: TrainConfig, betas: tuple[float, float]) -> Any:
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    for name, p in named:
        p.use_muon = _is_hidden_matrix(name, p)  # type: ignore[attr-defined]  # the flag ZeRO looks for
    hidden = {
        "params": [p for name, p in named if _is_hidden_matrix(name, p)],
        "use_muon": True,
        "lr": config.muon_learning_rate,
        "momentum": config.muon_momentum,
        "weight_decay": config.muon_weight_decay,
        "ns_method": "standard",
    }
    rest = {
        "params": [p for name, p in named if not _is_hidden_matrix(name, p)],
        "use_muon": False,
        "lr": config.learning_rate,
        "betas": betas,
        "eps": _EPS,
        "weight_decay": config.weight_decay,
    }
    optimizer = MuonWithAuxAdam([hidden, rest])
    if config.clip:
        optimizer.register_step_pre_hook(_AdamClip(config.clip, partitioned=config.zero_stage > 0))
    return optimizer


def _is_hidden_matrix(name: str, p: nn.Parameter) -> bool:
    return _num_dims(p) == 2 and "embed" not in name and "lm_head" not in name


def _num_dims(p: nn.Parameter) -> int:
    """Dimensions of the whole parameter: under ZeRO-3 a parameter itself is empty until it is gathered."""
    return len(getattr(p, "ds_shape", p.shape))


class _AdamClip:
    """Before a step, scales the gradients of AdamW's groups so that their norm over all workers is at most `limit`."""

    def __init__(self, limit: float, partitioned: bool) -> None:
        self._limit = limit
        self._partitioned = partitioned  # each worker holds its part of the gradients, not all of them

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            if not group["use_muon"]:
                self._clip([p.grad for p in group["params"] if p.grad is not None])

    def _clip(self, gradients: list[torch.Tensor]) -> None:
        if not gradients:
            return
        total = torch.stack([gradient.float().square().sum() for gradient in gradients]).sum()
        if self._partitioned:
            torch.distributed.all_reduce(total)
        scale = (self._limit / (total.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
