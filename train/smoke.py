"""A smoke generation: does the exported folder load as an ordinary model, and does it write?

It says nothing of how well. It knows folders of models; nothing of training.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprint.card import ModelCard
from sprint.errors import SprintError
from sprint.render import Prompter
from sprint.tokenizer import HFTokenizer

TOKENS = 16


@dataclass(frozen=True, slots=True)
class Smoke:
    """What the model wrote, greedily, after a question: at most TOKENS tokens, of `prompt_tokens` before them."""

    prompt_tokens: int
    new_tokens: int
    text: str
    seconds: float

    def line(self) -> str:
        """For a person."""
        text = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"smoke generation: {self.new_tokens} tokens after a prompt of {self.prompt_tokens}: {text!r}"


def generate(folder: Path, question: str) -> Smoke:
    """Load the model in `folder` with `transformers` and let it go on after a question, as it was taught to be asked.

    Raises SprintError, in one sentence, when it does not load whole, or writes nothing or numbers that are not finite.
    """
    began = time.monotonic()
    tokenizer = HFTokenizer(folder)
    ids = list(Prompter(tokenizer, ModelCard.load(folder)).question_ids(question))
    new, text = _continue(_load(folder), ids, tokenizer)
    return Smoke(len(ids), len(new), text, time.monotonic() - began)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(str(folder), dtype="auto", output_loading_info=True)
    except Exception as error:  # whatever its files hold
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SprintError(f"the exported model does not load: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found.get(what):
            name = sorted(map(str, found[what]))[0]
            raise SprintError(f"the exported model does not load whole: {what.replace('_', ' ')}, {name} first")
    return model.eval()


def _continue(model: Any, ids: list[int], tokenizer: HFTokenizer) -> tuple[list[int], str]:
    import torch

    prompt = torch.tensor([ids])
    room = int(getattr(model.config, "max_position_embeddings", 0) or len(ids) + TOKENS) - len(ids)
    with torch.no_grad():
        if not bool(torch.isfinite(model(prompt).logits[0, -1]).all()):
            raise SprintError("the exported model does not write: its logits are not finite")
        written = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=max(1, min(TOKENS, room)),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
        )
    new: list[int] = written[0, len(ids) :].tolist()
    if not new:
        raise SprintError("the exported model does not write: it generated no token")
    return new, tokenizer.decode([token for token in new if token < tokenizer.vocab_size])
