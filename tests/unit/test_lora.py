"""Laws of adapters: only they learn, and merged they are what `peft` itself makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sprint.errors import ConfigError
from train import lora
from train.options import LoraConfig


def small() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=50, num_key_value_heads=1, tie_word_embeddings=True, **shape)).eval()


def moved(config: LoraConfig) -> Any:
    """A model whose adapters have learned something."""
    model = small()
    lora.adapt(model, config)
    with torch.no_grad():
        for _, p in lora.learning(model):
            p.add_(torch.randn_like(p) * 0.3)
    return model


def test_only_adapters_learn_and_they_begin_as_nothing() -> None:
    plain, model = small(), small()
    lora.adapt(model, LoraConfig(rank=2))
    names = [name for name, _ in lora.learning(model)]
    assert names
    assert all(".lora_" in name for name in names)
    assert len(names) == 2 * 7 * 2  # two matrices, seven layers, two blocks; the head and the embeddings stay
    ids = torch.arange(9)[None]
    assert torch.equal(model.eval()(ids).logits, plain(ids).logits)


@pytest.mark.parametrize(
    "config", [LoraConfig(rank=2), LoraConfig(rank=3, alpha=1.5), LoraConfig(rank=2, targets=("q_proj",))]
)
def test_merged_weights_are_an_ordinary_model_that_says_the_same(config: LoraConfig) -> None:
    model, plain = moved(config), small()
    weights = lora.merged(model, model.state_dict())
    assert weights.keys() == plain.state_dict().keys()
    plain.load_state_dict(weights)
    ids = torch.arange(9)[None]
    assert torch.allclose(plain(ids).logits, model.eval()(ids).logits, atol=1e-5)
    assert not torch.allclose(plain(ids).logits, small()(ids).logits, atol=1e-3)


def test_merging_is_that_of_peft() -> None:
    model = moved(LoraConfig(rank=2, alpha=3.0))
    weights = lora.merged(model, model.state_dict())
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            module.merge()
            assert torch.allclose(module.base_layer.weight, weights[f"{name}.weight"], atol=1e-6)


def test_a_model_without_adapters_is_left_alone() -> None:
    model = small()
    lora.adapt(model, LoraConfig())
    assert len(lora.learning(model)) == len(list(model.parameters()))
    weights = model.state_dict()
    assert lora.merged(model, weights) == weights


def test_targets_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^lora: the model has no linear layers called w_up$"):
        lora.adapt(small(), LoraConfig(rank=2, targets=("w_up",)))
