"""Small DeepSpeed engines in spawned processes, without Ray: what the tests of checkpoints train with."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sprint.config import validate
from train.config import TrainConfig

ROWS, TOKENS = 4, 12  # of one optimizer step, over all workers


def spawn(world: int, work: Callable[..., None], *arguments: object) -> None:
    """Run `work(*arguments)` in `world` processes that form one group. Raises when one of them does."""
    import torch.multiprocessing

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_member, args=(world, port, work, arguments), nprocs=world)


def _member(rank: int, world: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    import logging

    from train.process import prepare_process

    logging.disable(logging.WARNING)
    prepare_process(config(world))
    work(*arguments)
    import torch.distributed

    torch.distributed.destroy_process_group()


def config(world: int, **values: object) -> TrainConfig:
    """Settings with which every number of workers reads the same rows in a step, two at a time."""
    settings: dict[str, object] = {
        "data": "data",
        "name": "run",
        "workers": world,
        "accumulation": ROWS // 2 // world,
        "precision": "fp32",
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "beta2": 0.9,
        **values,
    }
    return validate(TrainConfig, settings, "test")


def engine(config: TrainConfig, dropout: float = 0.0, prepare: Callable[[Any], None] = lambda lm: None) -> Any:
    """A DeepSpeed engine around a small random Qwen2, always the same one; its forward is the loss of some ids.

    `prepare` changes the model before the engine takes it.
    """
    import deepspeed
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from train.optim import make_optimizer
    from train.zero import engine_config

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            shape = Qwen2Config(
                vocab_size=512,
                hidden_size=64,  # two heads of 32, the least that vLLM computes on CPU
                intermediate_size=40,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=64,
                tie_word_embeddings=True,
                attention_dropout=dropout,
            )
            self.lm = Qwen2ForCausalLM(shape).train()
            if config.precision == "bf16":
                self.lm.bfloat16()
            prepare(self.lm)

        def forward(self, ids: Any) -> Any:
            return self.lm(input_ids=ids, labels=ids, use_cache=False).loss

    model = Loss()
    settings = engine_config(config, 2, sum(p.numel() for p in model.parameters()))
    optimizer = make_optimizer(model, config)
    return deepspeed.initialize(model=model, model_parameters=model.parameters(), optimizer=optimizer, config=settings)[
        0
    ]


def losses(engine: Any, config: TrainConfig, first: int, last: int) -> list[float]:
    """Train steps `first` to `last` (from 1, both included); the mean loss of each, over all workers."""
    import torch
    import torch.distributed as dist

    found = []
    for step in range(first, last + 1):
        rows = torch.randint(0, 64, (ROWS, TOKENS), generator=torch.Generator().manual_seed(step))
        mine = rows[dist.get_rank() :: config.workers]
        total = torch.zeros(())
        for micro in range(config.accumulation):
            loss = engine(mine[2 * micro : 2 * micro + 2])
            engine.backward(loss)
            engine.step()
            total += loss.detach() / config.accumulation
        dist.all_reduce(total)
        found.append(float(total) / config.workers)
    return found


def weights(folder: Path) -> dict[str, Any]:
    """The tensors of an exported model."""
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict())


def save_tokenizer(folder: Path) -> Path:
    """A tokenizer that the engines' small vocabulary holds."""
    from train.tokenizers import save_tokenizer, train_tokenizer

    folder.mkdir(parents=True)
    save_tokenizer(train_tokenizer(["ab"]), folder)
    return folder
