"""How much arithmetic a step takes, and how much a device could do. It knows shapes and names of devices.

Counted are the products of weights and tokens, forward and backward: what attention multiplies among tokens, and what
checkpointing computes twice, is left out, so a share of the peak made from it is a little too low, never too high.
"""

from __future__ import annotations

import re
from typing import Any

# Dense bf16 products with fp32 sums, in FLOP/s, as the makers state them, by a word or two of a device's name.
PEAKS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
}


def peak_flops(device_name: str) -> float | None:
    """FLOP/s of one device in bf16, by its name; None where it is not known."""
    return next((peak for name, peak in PEAKS.items() if re.search(rf"\b{name}\b", device_name)), None)


class Work:
    """FLOPs of the steps of one model. A weight that learns is used three times a token, a frozen one twice."""

    def __init__(self, lm: Any) -> None:
        head = lm.get_output_embeddings().weight
        inputs = lm.get_input_embeddings().weight
        self._head = _cost(head)
        self._body = sum(_cost(p) for p in lm.parameters() if p is not head and p is not inputs)

    def flops(self, tokens: float, supervised: float) -> float:
        """Of so many tokens through the layers, and so many of them through the head."""
        return self._body * tokens + self._head * supervised


def _cost(p: Any) -> int:
    size = int(getattr(p, "ds_numel", p.numel()))  # under ZeRO-3 the parameter itself may be empty
    return (6 if p.requires_grad else 4) * size
