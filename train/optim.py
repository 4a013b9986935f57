"""Optimizers and the learning rate's course. It knows parameters and how ZeRO lays them out, nothing of data or Ray.

Muon takes the momentum of a matrix's gradient to its nearest orthogonal matrix and steps along that; embeddings, norms,
biases and the head keep AdamW. DeepSpeed brings a Muon of its own, but under ZeRO it clips after the orthogonalisation,
where the norm counts matrices instead of gradients, so a limit of 1 all but stops it; and it calls a compiler. The one
here is an ordinary optimizer under ZeRO: it receives clipped gradients and does what `torch.optim.Muon` does.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from train.config import OptimizerName, Schedule, TrainConfig

Named = list[tuple[str, nn.Parameter]]

_COOLDOWN = 0.35  # share of the steps over which a trapezoid falls to its end


def rate_factor(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`, as a share of the peak."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(1.0, step / steps)
    falling = {
        Schedule.COSINE: 0.5 * (1 + math.cos(math.pi * progress)),
        Schedule.LINEAR: 1 - progress,
        Schedule.CONSTANT: 1.0,
        Schedule.TRAPEZOID: min(1.0, (1 - progress) / _COOLDOWN),
    }[config.schedule]
    return warm * (config.final_rate + (1 - config.final_rate) * falling)


def set_rate(optimizer: Any, peaks: list[float], factor: float) -> None:
    """Give every parameter group its peak rate times `factor`."""
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer to hand to `deepspeed.initialize`."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.optimizer is OptimizerName.MUON:
        return MuonAdamW(named, config)
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(_adamw_groups(named, config.weight_decay), lr=config.learning_rate, betas=betas)


def _adamw_groups(named: Named, decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms and biases do not."""
    matrices = {"params": [p for _, p in named if len(_shape(p)) > 1], "weight_decay": decay}
    vectors = {"params": [p for _, p in named if len(_shape(p)) <= 1], "weight_decay": 0.0}
    return [group for group in (matrices, vectors) if group["params"]]


class MuonAdamW(torch.optim.AdamW):
    """Muon on hidden matrices, AdamW on the rest, in one optimizer that ZeRO can split.

    Without ZeRO it sees the matrices. Under ZeRO it sees one flat piece of each group; momentum is taken piece by
    piece, the pieces are gathered, and each worker orthogonalises the matrices that its piece overlaps.
    `config.zero_stage` says how the pieces lie.
    """

    param_groups: list[dict[str, Any]]

    def __init__(self, named: Named, config: TrainConfig) -> None:
        hidden = [p for name, p in named if is_hidden_matrix(name, p)]
        rest = [p for name, p in named if not is_hidden_matrix(name, p)]
        self._shapes = [(shape[0], shape[1]) for shape in map(_shape, hidden)]
        self._stage = config.zero_stage
        muon = {
            "params": hidden,
            "muon": True,
            "lr": config.muon_learning_rate,
            "weight_decay": config.muon_weight_decay,
            "momentum": config.muon_momentum,
        }
        adamw = {"params": rest, "muon": False, "weight_decay": config.weight_decay}
        groups = [group for group in (muon, adamw) if group["params"]]
        super().__init__(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of the groups in `param_groups`; ZeRO calls it for one group at a time."""
        groups = self.param_groups
        for group in groups:
            if group["muon"]:
                self._muon_step(group)
        self.param_groups = [group for group in groups if not group["muon"]]
        super().step(closure)
        self.param_groups = groups

    def _muon_step(self, group: dict[str, Any]) -> None:
        for p in group["params"]:
            if p.grad is None:
                continue
            direction = self._direction(p, group["momentum"])
            step = self._flat_step(direction) if self._stage else orthogonal_step(direction)
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(step, alpha=-group["lr"])

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        """The gradient and its running mean, mixed as Nesterov's momentum."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros(())  # AdamW, when it is loaded, expects every parameter to count its steps
            state["momentum_buffer"] = torch.zeros_like(p.grad)
        state["step"] += 1
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)

    def _flat_step(self, piece: Tensor) -> Tensor:
        """The steps that belong to this worker's flat piece of all the matrices."""
        world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        pieces = piece.new_empty(world, piece.numel())
        torch.distributed.all_gather(list(pieces), piece.contiguous())
        layout = _split_each if self._stage == 3 else _split_whole
        layout(pieces, self._shapes, rank)
        return pieces[rank]


def _split_whole(pieces: Tensor, shapes: list[tuple[int, int]], rank: int) -> None:
    """ZeRO-1 and 2 lay all matrices end to end and cut the whole: orthogonalise those that piece `rank` overlaps."""
    flat = pieces.view(-1)
    low, high = rank * pieces.shape[1], (rank + 1) * pieces.shape[1]
    start = 0
    for rows, columns in shapes:
        end = start + rows * columns
        if start < high and end > low:
            flat[start:end] = orthogonal_step(flat[start:end].view(rows, columns)).reshape(-1)
        start = end


def _split_each(pieces: Tensor, shapes: list[tuple[int, int]], rank: int) -> None:
    """ZeRO-3 cuts each matrix into equal parts, the last one padded, so every worker needs them all."""
    world, start = pieces.shape[0], 0
    for rows, columns in shapes:
        part = -(-rows * columns // world)
        place = pieces[:, start : start + part]
        flat = place.reshape(-1).clone()  # with one worker it would be `place` itself
        flat[: rows * columns] = orthogonal_step(flat[: rows * columns].view(rows, columns)).reshape(-1)
        place.copy_(flat.view(world, part))
        start += part


def orthogonal_step(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, roughly, by five Newton-Schulz steps in bf16; tall matrices step further.

    Coefficients and scaling are those of K. Jordan's Muon (https://kellerjordan.github.io/posts/muon/).
    """
    rows, columns = matrix.shape
    x = matrix.bfloat16()
    x = x.T if rows > columns else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    x = x.T if rows > columns else x
    return x.to(matrix.dtype) * math.sqrt(max(1.0, rows / columns))


def is_hidden_matrix(name: str, p: nn.Parameter) -> bool:
    """Whether Muon moves this parameter: matrices between the embedding and the head."""
    return len(_shape(p)) == 2 and "embed" not in name and "lm_head" not in name


def _shape(p: nn.Parameter) -> torch.Size:
    """The whole parameter's shape: under ZeRO-3 a parameter may be empty until it is gathered."""
    shape: torch.Size = getattr(p, "ds_shape", p.shape)
    return shape
