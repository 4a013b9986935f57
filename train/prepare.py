"""`sprint prepare`: one small untrained model for all the sets that will be trained from it.

Twins that start here share the tokenizer and the first weights, so what sets them apart is what they are taught.
It imports nothing heavy until it runs.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sprint.config import StrictModel
from sprint.errors import ConfigError


class PrepareConfig(StrictModel):
    """What the tokenizer is trained on, and where the model goes."""

    data: tuple[Path, ...] = Field(min_length=1, description="folders of curated Parquet files")
    out: Path = Field(description="model folder to write")
    seed: int = Field(0, description="of the random weights")
    context: int = Field(4096, ge=16, description="the model's context, in tokens")


def prepare_start(config: PrepareConfig) -> Path:
    """Write the model folder. Raises ConfigError when it exists, InputError when a set cannot be read."""
    if config.out.exists():
        raise ConfigError(f"{config.out} already exists, expected a new folder", field="out")
    from train.models import prepare
    from train.reading import read_curated

    sets = [read_curated(folder) for folder in config.data]
    texts = [text for curated in sets for text in (*curated.questions, *curated.texts)]
    folder = prepare(dict.fromkeys(texts), config.out, config.seed, config.context)
    print(f"untrained model: {folder}")
    return folder
