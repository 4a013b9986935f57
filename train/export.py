"""A trained model as a folder that `transformers` and vLLM load. It knows files, nothing of training.

The folder is filled under a draft's name, tried out there, and put in place only if it wrote something.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sprint.card import ModelCard
from sprint.errors import InputError
from sprint.files import read_json, write_json, write_text
from sprint.tokenizer import HFTokenizer
from train.files import put_folder, share_file

# What `HFTokenizer.chat` does where a tokenizer has no template: so any chat client asks as training did.
PLAIN_CHAT = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that is not a model. Raises InputError."""
    taken = folder.is_file() or (folder.exists() and any(folder.iterdir()))
    if taken and not (folder / "config.json").is_file():
        raise InputError(f"export folder {folder} holds something other than a model, expected a new folder")


def finish(
    weights: Path, tokenizer: HFTokenizer, card: ModelCard, folder: Path, describe: Callable[[Path], str]
) -> None:
    """Make `folder` a model from a folder of saved weights: tokenizer, generation settings and cards beside them.

    `describe` looks at the draft and returns the text of its README.md; when it raises, nothing is put in place.
    """
    with put_folder(folder) as draft:
        for file in weights.iterdir():
            share_file(file, draft / file.name)
        _add_tokenizer(draft, tokenizer)
        _add_generation_config(draft, tokenizer)
        card.save(draft)
        write_text(draft / "README.md", describe(draft))


def _add_tokenizer(folder: Path, tokenizer: HFTokenizer) -> None:
    template = tokenizer.hf.chat_template
    try:
        tokenizer.hf.chat_template = template or PLAIN_CHAT
        tokenizer.hf.save_pretrained(str(folder))
    finally:
        tokenizer.hf.chat_template = template


def _add_generation_config(folder: Path, tokenizer: HFTokenizer) -> None:
    """Keep the start model's settings and see that the end-of-sequence token is among them."""
    path = folder / "generation_config.json"
    settings: dict[str, Any] = read_json(path) if path.exists() else {}
    if settings.get("eos_token_id") is None:
        settings["eos_token_id"] = tokenizer.eos_id
    if settings.get("pad_token_id") is None and tokenizer.hf.pad_token_id is not None:
        settings["pad_token_id"] = tokenizer.hf.pad_token_id
    path.unlink(missing_ok=True)  # it may be the same file as the saved weights' one
    write_json(path, settings)
