"""A vLLM logits processor that makes an engine sample given ids: it really decodes, but says what it is told.

Loaded by name inside the engine's process, so this module alone imports vLLM and torch at once. It is for vLLM's V1
model runner. A request that names no ids samples as ever.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

KEY = "forced_ids"  # as in `forced`, which must not import this module


class Forcing(LogitsProcessor):
    """Takes the ids to sample from `SamplingParams.extra_args[KEY]`."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._requests: dict[int, tuple[list[int], list[int]]] = {}  # by row: the ids to say, the ids said so far

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._requests, batch_update, _told)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        pairs = [(row, to_say[len(said)]) for row, (to_say, said) in self._requests.items() if len(said) < len(to_say)]
        if pairs:
            rows, ids = map(list, zip(*pairs, strict=True))
            logits[rows] = float("-inf")
            logits[rows, ids] = 0.0
        return logits


def _told(params: SamplingParams, _: list[int] | None, said: list[int]) -> tuple[list[int], list[int]] | None:
    ids = (params.extra_args or {}).get(KEY)
    return None if ids is None else (ids, said)
