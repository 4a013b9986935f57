"""FlexAttention as torch compiles it, which leaves out the blocks that the mask names, gives the same logits."""

from __future__ import annotations

import pytest
import torch

from tests.parity import LEAKS, assert_same, batch_of
from tests.unit.test_parity import exact
from train.attention import block_mask, implementation
from train.models import SupervisedLoss
from train.options import Attention


@pytest.mark.slow
@pytest.mark.timeout(1200)  # the kernel is compiled, once for each number of heads
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_compiled_flex_attention_gives_the_logits_of_the_inference_prompts(seed: int) -> None:
    case = exact(seed)
    case.model.set_attn_implementation(implementation(Attention.FLEX))
    loss = SupervisedLoss(case.model, autocast=False, attention=Attention.FLEX)
    assert block_mask(batch_of(case.row)).sparsity() > 25  # there are blocks to leave out
    with torch.no_grad():
        assert_same(loss.logits(batch_of(case.row), plain=False)[0], case.expected)
        for leak in LEAKS:
            with pytest.raises(AssertionError, match="logits differ"):
                assert_same(loss.logits(batch_of(leak(case.row)), plain=False)[0], case.expected)
