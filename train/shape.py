"""What a model weighs and what it keeps for the backward pass, found without its weights: tensors that hold no numbers.

The model is built from its configuration alone, so parameter counts are exact for every architecture that
`transformers` knows, and what autograd keeps is counted as autograd keeps it (with adapters: as if all weights learned,
a little too much). It knows no data, devices or ZeRO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from train.config import Precision, TrainConfig
from train.lora import adapt
from train.optim import is_hidden_matrix

_FEW, _MORE = 64, 128  # tokens of the two trial passes


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, in parameters and bytes.

    parameters   all of the model, tied ones once, adapters not among them
    trainable    those that learn: all, or the adapters
    hidden       those of them that are hidden matrices, which Muon moves
    body         weights that every token is multiplied with: linear layers, the head not among them
    head         weights that a supervised token is multiplied with
    vocabulary   rows of the head
    layers       number of layers
    width        of the states between layers
    attention    heads x head size
    layer_bytes  kept by one layer for the backward pass, per token
    other_bytes  kept outside the layers, per token
    cast_bytes   copies of weights that autocast keeps, whatever the number of tokens
    """

    parameters: int
    trainable: int
    hidden: int
    body: int
    head: int
    vocabulary: int
    layers: int
    width: int
    attention: int
    layer_bytes: float
    other_bytes: float
    cast_bytes: float


def shape_of(model_config: Any, config: TrainConfig) -> Shape:
    """The shape of the model that `model_config`, a `transformers` configuration, describes, as `config` trains it.

    Raises ConfigError for adapters on layers that the model lacks.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        layer, other, cast = _kept(model_config, config)
    with torch.device("meta"):
        lm = _build(model_config, config, int(model_config.num_hidden_layers))
        parameters = sum(p.numel() for p in lm.parameters())
        head = lm.get_output_embeddings().weight
        body = sum(module.weight.numel() for module in lm.modules() if isinstance(module, nn.Linear)) - head.numel()
        _adapt(lm, config)
    learning = [(name, p) for name, p in lm.named_parameters() if p.requires_grad]
    return Shape(
        parameters=parameters,
        trainable=sum(p.numel() for _, p in learning),
        hidden=sum(p.numel() for name, p in learning if is_hidden_matrix(name, p)),
        body=body,
        head=head.numel(),
        vocabulary=head.shape[0],
        layers=int(model_config.num_hidden_layers),
        width=int(model_config.hidden_size),
        attention=_attention_width(model_config),
        layer_bytes=layer,
        other_bytes=other,
        cast_bytes=cast,
    )


def _attention_width(model_config: Any) -> int:
    heads = int(model_config.num_attention_heads)
    size = getattr(model_config, "head_dim", None) or model_config.hidden_size // heads
    return heads * int(size)


def _build(model_config: Any, config: TrainConfig, layers: int) -> Any:
    """The model with so many layers, without numbers in its weights."""
    from transformers import AutoModelForCausalLM

    values = model_config.to_dict() | {"num_hidden_layers": layers}
    values.pop("layer_types", None)  # as many as there were layers
    dtype = torch.bfloat16 if config.precision is Precision.BF16 else torch.float32
    built = type(model_config).from_dict(values)
    return AutoModelForCausalLM.from_config(built, dtype=dtype, attn_implementation="sdpa").train()


def _adapt(lm: Any, config: TrainConfig) -> None:
    """Leave only adapters to learn, where there are any."""
    if config.lora.rank:
        lm.requires_grad_(False)
        adapt(lm, config.lora)


def _kept(model_config: Any, config: TrainConfig) -> tuple[float, float, float]:
    """Bytes kept for the backward pass: of a layer per token, of the rest per token, and whatever the tokens.

    Four passes, of one and two layers and few and more tokens, tell these apart.
    """
    one, two = _build(model_config, config, 1), _build(model_config, config, 2)
    few, more = _kept_bytes(one, _FEW, config), _kept_bytes(one, _MORE, config)
    few_of_two, more_of_two = _kept_bytes(two, _FEW, config), _kept_bytes(two, _MORE, config)
    tokens = _MORE - _FEW
    layer, all_of_one = ((more_of_two - few_of_two) - (more - few)) / tokens, (more - few) / tokens
    fixed_layer = (few_of_two - few) - layer * _FEW
    fixed_rest = few - all_of_one * _FEW - fixed_layer
    return layer, all_of_one - layer, max(0.0, fixed_layer) * model_config.num_hidden_layers + max(0.0, fixed_rest)


def _kept_bytes(lm: Any, tokens: int, config: TrainConfig) -> int:
    """What autograd keeps of a pass over so many tokens, parameters and the mask not counted, every storage once."""
    dtype = torch.float32 if config.precision is Precision.FP32 else torch.bfloat16
    mask = torch.zeros(1, 1, tokens, tokens, dtype=dtype)  # as packed rows have one; heads that share keys copy them
    own = {tensor.untyped_storage()._cdata for tensor in (mask, *lm.parameters())}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision is Precision.AUTOCAST)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        lm.get_decoder()(input_ids=ids, attention_mask=mask, position_ids=torch.arange(tokens)[None], use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
