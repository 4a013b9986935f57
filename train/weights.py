"""The weights that a run ends with, in a folder that `transformers` reads. Every worker takes part.

It knows engines and models; nothing of tokenizers, cards or where a finished model goes (`train.export`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.files import put_folder

SHARD = "5GB"


def save_weights(engine: Any, folder: Path) -> None:
    """Write the engine's present weights to `folder`, whole or not at all: rank 0 writes.

    Under ZeRO-3 all workers take part in gathering them. The type is that of the engine's weights: bf16 in a bf16 run,
    otherwise fp32; adapters are merged. `engine.module.lm` is the language model.
    """
    import torch.distributed as dist

    from train.lora import merged

    lm = engine.module.lm
    weights = _gathered(engine)
    if dist.get_rank() == 0:
        own = {name.removeprefix("lm."): value for name, value in weights.items()}
        lm.config.use_cache, before = True, lm.config.use_cache
        try:
            with put_folder(folder) as draft:
                lm.save_pretrained(str(draft), state_dict=merged(lm, own), max_shard_size=SHARD)
        finally:
            lm.config.use_cache = before
    dist.barrier()


def _gathered(engine: Any) -> dict[str, Any]:
    """All weights by name; under ZeRO-3 they are whole at rank 0 only, whatever this is called in fp32 and bf16."""
    if engine.zero_optimization_stage() < 3:
        whole: dict[str, Any] = engine.module.state_dict()
        return whole
    return engine._zero3_consolidated_16bit_state_dict() or {}
