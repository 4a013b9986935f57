"""What the training benchmark trains on: curated sets whose lengths are spread like real ones, and untrained models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from sprint.render import trajectory_text
from sprint.tags import prompt
from sprint.types import Execution, Round, Trajectory

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4},
    "small": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    # The width and vocabulary of 7B; as many of its 28 layers as one GPU holds with all of AdamW's states.
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 10, "num_attention_heads": 28},
}
VOCABULARY = {"tiny": 4096, "small": 16384, "1.5b": 151936, "7b": 152064}
SHARED = {"tiny": 2, "small": 3, "1.5b": 6, "7b": 7}  # query heads for each key


def write_set(folder: Path, examples: int, words: int, seed: int = 0) -> list[str]:
    """A curated SPRINT set whose executions have a log-normal length around `words` sums; its texts."""
    import pyarrow
    import pyarrow.parquet

    chance = random.Random(seed)
    texts = [trajectory_text(_trajectory(chance, words)) for _ in range(examples)]
    rows = [
        {"id": str(i), "question": f"What is {i}?", "method": "sprint", "text": text} for i, text in enumerate(texts)
    ]
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "part.parquet")
    return texts


def _trajectory(chance: random.Random, words: int) -> Trajectory:
    """Rounds and prompts as often as in the authors' outputs: four rounds or so, one or two prompts mostly."""
    rounds = []
    for number in range(1, chance.choice((2, 3, 4, 4, 5, 6)) + 1):
        prompts = range(1, chance.choice((1, 1, 1, 2, 2, 3)) + 1)
        plan = "\n".join(f"{_sums(chance, words / 4)}\n{prompt(number, k, f'work out part {k}')}" for k in prompts)
        rounds.append(Round(plan, tuple(Execution(_sums(chance, words)) for _ in prompts)))
    return Trajectory(tuple(rounds), f"So it is \\boxed{{{chance.randrange(100)}}}.")


def _sums(chance: random.Random, words: float) -> str:
    many = max(1, round(words * chance.lognormvariate(0, 0.6)))
    return " ".join(
        f"{a} + {b} = {a + b}." for a, b in ((chance.randrange(99), chance.randrange(99)) for _ in range(many))
    )


def write_model(folder: Path, texts: list[str], shape: str, context: int, gpu: bool) -> None:
    """A model of that shape with random weights, in bf16 for a GPU, and a tokenizer of these texts."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from train.models import prepare

    prepare(texts, folder)
    values = SHAPES[shape] | {"vocab_size": VOCABULARY[shape], "tie_word_embeddings": False}
    values |= {"num_key_value_heads": values["num_attention_heads"] // SHARED[shape]}
    config = Qwen2Config(**values, max_position_embeddings=context, pad_token_id=0, eos_token_id=1, bos_token_id=None)
    torch.manual_seed(0)
    with torch.device("cuda" if gpu else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if gpu else torch.float32)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(str(folder))
