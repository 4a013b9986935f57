"""Cross entropy from the last hidden states, in three ways: all logits at once, a few at a time, or Liger's kernel.

A vocabulary of 152,000 makes logits the largest tensor of a step by far. `chunked` computes them for a few tokens at a
time, takes their gradient at once and forgets them. It knows a linear head and labels; no rows, no model, no optimizer.
"""

from __future__ import annotations

import types
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from sprint.errors import ConfigError
from sprint.types import Kind
from train.options import CrossEntropy

CHUNK_LOGITS = 2**26  # so many logits are in memory at once: 256 MiB in fp32, 441 tokens of a vocabulary of 152,000


def resolve(chosen: CrossEntropy, use_gpu: bool) -> CrossEntropy:
    """The way that `chosen` comes to on this machine. Raises ConfigError where Liger cannot be used."""
    has_liger = find_spec("liger_kernel") is not None
    if chosen is CrossEntropy.LIGER and not (use_gpu and has_liger):
        reason = "runs on GPU only" if not use_gpu else "needs the package liger_kernel, which is not installed"
        raise ConfigError(f"cross_entropy: liger {reason}, expected chunked", field="cross_entropy")
    if chosen is CrossEntropy.AUTO:
        return CrossEntropy.LIGER if use_gpu and has_liger else CrossEntropy.CHUNKED
    return chosen


def check_head(config: Any) -> None:
    """Raises ConfigError for a model that changes its logits after the head: the losses here would not know of it."""
    cap = getattr(config, "final_logit_softcapping", None)
    scales = [getattr(config, name, None) for name in ("logit_scale", "logits_scaling")]
    if cap or any(scale not in (None, 1.0) for scale in scales):
        raise ConfigError("start: the model caps or scales its logits, expected one that does not", field="start")


def teach_head(head: nn.Module, how: CrossEntropy) -> None:
    """Let `head(hidden, labels, kinds)` give a loss, beside logits from `head(hidden)`.

    `hidden` is (tokens, width), `labels` and `kinds` (tokens,). It returns the sum of the tokens' cross entropies, and
    that sum's share of each `Kind`, (kinds,), without a gradient. The loss is computed inside the head's own forward
    because under ZeRO-3 its weights are whole only there.
    """
    plain = head.forward

    def forward(self: Any, hidden: Tensor, labels: Tensor | None = None, kinds: Tensor | None = None) -> Any:
        if labels is None or kinds is None:
            return plain(hidden)
        bias = getattr(self, "bias", None)
        if how is CrossEntropy.LIGER:
            return _liger(hidden, self.weight, bias, labels, kinds)
        if how is CrossEntropy.CHUNKED:
            total, each = _Chunked.apply(hidden, self.weight, bias, labels, CHUNK_LOGITS)
        else:
            each = nn.functional.cross_entropy(plain(hidden).float(), labels, reduction="none")
            total = each.sum()
        return total, each.new_zeros(len(Kind)).index_add_(0, kinds, each.detach())

    head.forward = types.MethodType(forward, head)


class _Chunked(torch.autograd.Function):
    """Sum of cross entropies, and each of them; gradients are those of the sum, computed together with it."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk_logits: int
    ) -> tuple[Tensor, Tensor]:
        """`hidden` (tokens, width), `weight` (vocabulary, width), `labels` (tokens,). Gives a scalar, (tokens,)."""
        wanted = ctx.needs_input_grad
        grads = _Gradients(hidden, weight, bias, wanted)
        dtype = _product_dtype(hidden)
        matrix = weight.to(dtype)
        each = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        size = max(1, chunk_logits // len(weight))
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            inputs = hidden[part].to(dtype)
            logits = (inputs @ matrix.T).float()
            if bias is not None:
                logits += bias.float()
            each[part] = _losses(logits, labels[part], any(wanted))
            grads.take(part, logits, inputs, matrix)
        ctx.save_for_backward(grads.hidden, grads.weight, grads.bias)
        ctx.mark_non_differentiable(each)
        return each.sum(), each

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        """The kept gradients times `grad`; in place, as nothing reads them again."""
        return *(None if kept is None else kept.mul_(grad) for kept in ctx.saved_tensors), None, None


def _losses(logits: Tensor, labels: Tensor, differentiate: bool) -> Tensor:
    """Cross entropies of (tokens, vocabulary); on demand `logits` then hold their gradients, in place."""
    at = labels[:, None]
    total = logits.logsumexp(1, keepdim=True)
    losses = (total - logits.gather(1, at))[:, 0]
    if differentiate:
        logits.sub_(total).exp_()
        logits.scatter_add_(1, at, torch.full_like(total, -1.0))
    return losses


class _Gradients:
    """Gradients of the summed loss, collected chunk by chunk; the weights' in fp32, as chunks are added up."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, wanted: tuple[bool, ...]) -> None:
        self.hidden = torch.empty_like(hidden) if wanted[0] else None
        self.weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        self.bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None

    def take(self, part: slice, logits: Tensor, inputs: Tensor, matrix: Tensor) -> None:
        """`logits` hold the gradients of the logits of `part`."""
        flow = logits.to(inputs.dtype)
        if self.hidden is not None:
            self.hidden[part] = flow @ matrix
        if self.weight is not None:
            self.weight += flow.T @ inputs
        if self.bias is not None:
            self.bias += logits.sum(0)


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """What matrix products are computed in here: autocast's type where it is on."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _liger(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Liger's kernel, for one kind of tokens after the other, as it gives sums. Weights' gradients add up in fp32."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    dtype = _product_dtype(hidden)
    sums = torch.zeros(len(Kind), dtype=torch.float32, device=hidden.device)
    total = hidden.sum() * 0.0  # a batch without labels has a gradient too, so that workers stay in step
    for kind in kinds.unique().tolist():
        of = kinds == kind
        loss = liger_fused_linear_cross_entropy(
            hidden[of].to(dtype), weight.to(dtype), labels[of], bias, reduction="sum", accum_dtype=torch.float32
        )
        sums[kind] = loss.detach()
        total = total + loss
    return total, sums
