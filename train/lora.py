"""Low-rank adapters (LoRA, by `peft`) on a model in place, and the ordinary weights they come to.

It knows modules and weights by name; nothing of optimizers, DeepSpeed or rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sprint.errors import ConfigError
from train.options import LoraConfig

WARNING = (
    "warning: with LoRA the paper's models did not hold the format of plans and executions (appendix A.3); "
    "what it reports is full fine-tuning"
)
_ADAPTER = "default"


def adapt(lm: Any, config: LoraConfig) -> None:
    """Put adapters into `lm` and let only them learn. Without a rank nothing happens.

    They are put in place, so the model keeps its class. Raises ConfigError for targets that are not there.
    """
    if not config.rank:
        return
    import peft

    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha or 2.0 * config.rank,
        lora_dropout=config.dropout,
        target_modules=list(config.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        peft.inject_adapter_in_model(settings, lm, _ADAPTER)
    except ValueError:
        names = ", ".join(config.targets)
        raise ConfigError(f"lora: the model has no linear layers called {names}", field="lora.targets") from None
    _check_adapted(lm, config.targets)


def _check_adapted(lm: Any, targets: tuple[str, ...]) -> None:
    """Adapters are on linear layers alone, not on the head, and every target names some. Raises ConfigError."""
    adapted = {name: module for name, module in lm.named_modules() if hasattr(module, "lora_A")}
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in adapted)]
    if unknown:
        raise ConfigError(f"lora: the model has no linear layers called {', '.join(unknown)}", field="lora.targets")
    head = lm.get_output_embeddings()
    for name, module in adapted.items():
        if module is head or not isinstance(module.base_layer, torch.nn.Linear):
            raise ConfigError(
                f"lora: {name} is not a linear layer within the model, expected lora.targets that are",
                field="lora.targets",
            )


def merged(lm: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the model without adapters: their products added to the layers they sit on.

    `weights` are all of `lm`, whole, by name; the sum is taken in fp32 and has the layer's type. Without adapters they
    come back as they are.
    """
    found = dict(weights)
    for name, module in lm.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        base, down, up = (
            found.pop(f"{name}.{part}.weight") for part in ("base_layer", f"lora_A.{_ADAPTER}", f"lora_B.{_ADAPTER}")
        )
        change = up.float() @ down.float() * module.scaling[_ADAPTER]
        found[f"{name}.weight"] = (base.float() + change.to(base.device)).to(base.dtype)
        if f"{name}.base_layer.bias" in found:
            found[f"{name}.bias"] = found.pop(f"{name}.base_layer.bias")
    return found


def learning(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters that learn, by name."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
