"""A vLLM logits processor that follows a script: what follows a prompt stands in a file, so no client has to say it.

Loaded by name inside the engine's process, of our service and of the raw server alike. A prompt that the script does
not know samples as ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from benchmarks.forcing import Forcing
from benchmarks.service_script import Script


class Scripted(Forcing):
    """Takes the ids to sample from the file named by the engine's `additional_config["script"]`."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self._script = Script(Path(vllm_config.additional_config["script"]))

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._requests, batch_update, self._looked_up)

    def _looked_up(
        self, params: SamplingParams, prompt_ids: list[int] | None, said: list[int]
    ) -> tuple[list[int], list[int]] | None:
        ids = self._script.after(prompt_ids or [])
        return None if ids is None else (ids, said)
