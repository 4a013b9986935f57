"""A trained model as a folder that `transformers` and vLLM load. It knows files, nothing of training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sprint.card import ModelCard
from sprint.errors import InputError
from sprint.files import read_json, write_json
from sprint.tokenizer import HFTokenizer


@contextmanager
def put_folder(folder: Path) -> Iterator[Path]:
    """A draft folder to fill; it takes the place of `folder` when the block ends, or nothing changes."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    draft.replace(folder)


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that is not a model. Raises InputError."""
    taken = folder.is_file() or (folder.exists() and any(folder.iterdir()))
    if taken and not (folder / "config.json").is_file():
        raise InputError(f"export folder {folder} holds something other than a model, expected a new folder")


def finish(weights: Path, tokenizer: HFTokenizer, card: ModelCard, folder: Path) -> None:
    """Make `folder` a model from a folder of saved weights: tokenizer, generation settings and card beside them."""
    with put_folder(folder) as draft:
        for file in weights.iterdir():
            shutil.copy2(file, draft / file.name)
        tokenizer.hf.save_pretrained(str(draft))
        _add_generation_config(draft, tokenizer)
        card.save(draft)


def _add_generation_config(folder: Path, tokenizer: HFTokenizer) -> None:
    """Keep the start model's settings and see that the end-of-sequence token is among them."""
    path = folder / "generation_config.json"
    settings = read_json(path) if path.exists() else {}
    if settings.get("eos_token_id") is None:
        settings["eos_token_id"] = tokenizer.eos_id
    if settings.get("pad_token_id") is None and tokenizer.hf.pad_token_id is not None:
        settings["pad_token_id"] = tokenizer.hf.pad_token_id
    write_json(path, settings)
