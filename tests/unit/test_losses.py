"""Laws of the loss: however it is computed, it is the same; large vocabularies are never there at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import train.losses
from sprint.errors import ConfigError
from sprint.types import Kind
from train.losses import check_head, resolve, teach_head
from train.options import CrossEntropy


def passed(how: CrossEntropy, tokens: int, vocabulary: int, bias: bool, dtype: torch.dtype, autocast: bool) -> Any:
    """Loss, shares of kinds and gradients of one pass with the same numbers every time."""
    torch.manual_seed(tokens)
    head = nn.Linear(12, vocabulary, bias=bias).to(dtype)
    teach_head(head, how)
    hidden = torch.randn(tokens, 12, dtype=dtype, requires_grad=True)
    labels, kinds = torch.randint(0, vocabulary, (tokens,)), torch.randint(1, len(Kind), (tokens,))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss, by_kind = head(hidden, labels, kinds)
    (loss * 0.3).backward()
    grads = [p.grad for p in (hidden, *head.parameters())]
    return [loss.detach(), by_kind, *grads]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(2, 50), st.booleans(), st.integers(1, 400))
def test_chunks_of_any_size_come_to_the_same(tokens: int, vocabulary: int, bias: bool, chunk: int) -> None:
    full = passed(CrossEntropy.FULL, tokens, vocabulary, bias, torch.float32, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.losses, "CHUNK_LOGITS", chunk)
        chunked = passed(CrossEntropy.CHUNKED, tokens, vocabulary, bias, torch.float32, False)
    for one, other in zip(full, chunked, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float32, True), (torch.bfloat16, False)])
def test_in_bf16_they_differ_by_its_rounding_only(dtype: torch.dtype, autocast: bool) -> None:
    exact = passed(CrossEntropy.FULL, 64, 40, False, torch.float32, False)
    full = passed(CrossEntropy.FULL, 64, 40, False, dtype, autocast)
    chunked = passed(CrossEntropy.CHUNKED, 64, 40, False, dtype, autocast)
    for one, other, true in zip(full, chunked, exact, strict=True):
        assert other.dtype == one.dtype
        scale = true.abs().max()
        assert (other.float() - one.float()).abs().max() / scale < 2**-6
        assert (other.float() - true).abs().max() / scale < 2**-5


def test_losses_of_the_kinds_are_the_tokens_own() -> None:
    torch.manual_seed(0)
    head = nn.Linear(8, 20)
    hidden, labels = torch.randn(30, 8), torch.randint(0, 20, (30,))
    kinds = torch.randint(0, len(Kind), (30,))
    each = nn.functional.cross_entropy(head(hidden), labels, reduction="none")
    teach_head(head, CrossEntropy.CHUNKED)
    loss, by_kind = head(hidden, labels, kinds)
    assert torch.allclose(by_kind, torch.stack([each[kinds == kind].sum() for kind in Kind]), atol=1e-4)
    assert torch.allclose(loss, each.sum())


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor held."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            self.numbers = max(self.numbers, value.numel() if isinstance(value, Tensor) else 0)
        return result


@pytest.mark.parametrize(("how", "is_whole"), [(CrossEntropy.CHUNKED, False), (CrossEntropy.FULL, True)])
def test_the_logits_of_a_large_vocabulary_are_never_there_at_once(
    how: CrossEntropy, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, vocabulary = 64, 152_064
    monkeypatch.setattr(train.losses, "CHUNK_LOGITS", 8 * vocabulary)
    head = nn.Linear(4, vocabulary, bias=False)
    teach_head(head, how)
    hidden = torch.randn(tokens, 4, requires_grad=True)
    with Largest() as largest:
        head(hidden, torch.arange(tokens), torch.ones(tokens, dtype=torch.long))[0].backward()
    assert (largest.numbers >= tokens * vocabulary) is is_whole
    assert is_whole or largest.numbers <= 8 * vocabulary


def test_a_frozen_head_gets_no_gradient_and_a_taught_one_still_gives_logits() -> None:
    head = nn.Linear(4, 9)
    hidden = torch.randn(5, 4, requires_grad=True)
    before = head(hidden)
    head.requires_grad_(False)
    teach_head(head, CrossEntropy.CHUNKED)
    assert torch.equal(head(hidden), before)
    head(hidden, torch.arange(5), torch.ones(5, dtype=torch.long))[0].backward()
    assert head.weight.grad is None
    assert hidden.grad is not None


def test_a_second_backward_through_the_same_loss_is_refused_and_not_wrong() -> None:
    head = nn.Linear(4, 9)
    teach_head(head, CrossEntropy.CHUNKED)
    loss = head(torch.randn(5, 4, requires_grad=True), torch.arange(5), torch.ones(5, dtype=torch.long))[0]
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_liger_is_for_gpus_and_auto_is_chunked_without_one() -> None:
    assert resolve(CrossEntropy.AUTO, use_gpu=False) is CrossEntropy.CHUNKED
    with pytest.raises(ConfigError, match=r"^cross_entropy: liger runs on GPU only, expected chunked$"):
        resolve(CrossEntropy.LIGER, use_gpu=False)


@pytest.mark.parametrize("values", [{"final_logit_softcapping": 30.0}, {"logit_scale": 0.06}])
def test_a_model_that_changes_its_logits_after_the_head_is_refused(values: dict[str, float]) -> None:
    from types import SimpleNamespace

    check_head(SimpleNamespace(logit_scale=1.0))
    with pytest.raises(ConfigError, match="caps or scales its logits"):
        check_head(SimpleNamespace(**values))
