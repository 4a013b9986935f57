"""Attention backends on a GPU: logits and gradients of FlexAttention and flash-attention against the dense mask."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from sprint.batching import Row
from sprint.render import Layout
from sprint.tokenizer import ByteTokenizer
from tests.parity import batch_of, packed, random_trajectory, row_for
from tests.unit.test_parity import random_model
from train.attention import implementation
from train.models import SupervisedLoss
from train.options import Attention

pytestmark = pytest.mark.gpu


def row_of(layout: Layout) -> Row:
    rng = random.Random(0)
    rows = [row_for(ByteTokenizer(), "q", random_trajectory(rng, *prompts), layout) for prompts in ((3, 2), (1,), ())]
    return packed(sorted(rows, key=len, reverse=True))


def loss_and_gradients(backend: Attention, row: Row, autocast: bool) -> tuple[float, dict[str, Any]]:
    model = random_model(1).cuda().train()
    model.set_attn_implementation(implementation(backend))
    batch = {name: tensor.cuda() for name, tensor in batch_of(row).items()}
    loss = SupervisedLoss(model, autocast=autocast, attention=backend)(batch, plain=False)
    loss.backward()
    return float(loss), {name: p.grad for name, p in model.named_parameters()}


def assert_close(backend: Attention, row: Row, autocast: bool, tolerance: float) -> None:
    loss, gradients = loss_and_gradients(backend, row, autocast)
    expected, expected_gradients = loss_and_gradients(Attention.DENSE, row, autocast)
    assert loss == pytest.approx(expected, rel=tolerance)
    for name, gradient in expected_gradients.items():
        assert float((gradients[name] - gradient).norm() / gradient.norm()) <= 10 * tolerance, name


def test_flex_attention_gives_the_gradients_of_the_dense_mask() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    assert_close(Attention.FLEX, row_of(Layout.EXACT), autocast=False, tolerance=1e-4)
    assert_close(Attention.FLEX, row_of(Layout.EXACT), autocast=True, tolerance=1e-2)


@pytest.mark.skipif(find_spec("flash_attn") is None, reason="flash_attn is not installed")
def test_flash_attention_gives_the_gradients_of_the_dense_mask() -> None:
    assert_close(Attention.VARLEN, row_of(Layout.FLAT), autocast=True, tolerance=1e-2)
