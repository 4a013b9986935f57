"""Models that a run can start from: a small one made from scratch, or any Hugging Face checkpoint.

It knows weights and configurations; nothing of optimizers, files of rows or Ray.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sprint.errors import ConfigError, InputError
from sprint.tokenizer import HFTokenizer
from train.attention import check_model, hidden_states, implementation
from train.losses import check_head, teach_head
from train.options import Attention, CrossEntropy
from train.tokenizers import save_tokenizer, train_tokenizer

HIDDEN = 128
LAYERS = 4
HEADS = 4
CONTEXT = 4096


def prepare(texts: Iterable[str], folder: Path, seed: int = 0, context: int = CONTEXT) -> Path:
    """Make a model folder to start from: a tokenizer trained on `texts` and a small Qwen2 with random weights.

    Texts are questions and assistant texts of every set that will be trained from it, so that twins share one tokenizer
    and the same first weights. `context` is the model's context in tokens. The folder appears whole or not at all.
    """
    from train.files import put_folder

    tokenizer = train_tokenizer(texts)
    model = _random_qwen2(len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id, seed, context)
    with put_folder(folder) as draft:
        model.save_pretrained(str(draft))
        save_tokenizer(tokenizer, draft)
    return folder


def _random_qwen2(vocab: int, pad_id: int, eos_id: int, seed: int, context: int) -> Any:
    """About 0.8 M parameters: enough to learn one small task, small enough for one core."""
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=-(-vocab // 64) * 64,
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN * 8 // 3 // 32 * 32,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        pad_token_id=pad_id,
        eos_token_id=eos_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def check_start(start: str) -> tuple[HFTokenizer, int]:
    """The tokenizer of a model to start from, and its context in tokens.

    Raises ConfigError when there is no such model or its tokenizer does not fit it.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(start)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"start: no model could be read from {start}: {_first_line(error)}", field="start") from None
    try:
        tokenizer = HFTokenizer(start)
    except InputError as error:
        raise ConfigError(f"start: {error}", field="start") from None
    if not all(isinstance(getattr(config, name, None), int) for name in ("vocab_size", "max_position_embeddings")):
        raise ConfigError(f"start: {start} does not say its vocabulary and context, expected a model of text alone")
    check_model(config)
    check_head(config)
    if tokenizer.eos_id is None:
        raise ConfigError(f"start: the tokenizer of {start} has no end-of-sequence token", field="start")
    if tokenizer.vocab_size > config.vocab_size:
        raise ConfigError(
            f"start: the tokenizer of {start} has {tokenizer.vocab_size} tokens, its model only {config.vocab_size}",
            field="start",
        )
    return tokenizer, int(config.max_position_embeddings)


def vocabulary(start: str) -> int:
    """How many token ids the model embeds. For a model that `check_start` has passed."""
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(start).vocab_size)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def load(start: str, bf16: bool, checkpointing: bool, attention: Attention = Attention.DENSE) -> Any:
    """The model to train, in train mode. Weights are fp32 unless `bf16`; `attention` is how it will be computed."""
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if bf16 else torch.float32
    model = AutoModelForCausalLM.from_pretrained(start, dtype=dtype, attn_implementation=implementation(attention))
    model.config.use_cache = False
    if checkpointing:
        model.gradient_checkpointing_enable()
    return model.train()


class SupervisedLoss(nn.Module):
    """A language model whose forward is the summed loss over the supervised positions of packed rows.

    Logits are computed where there is a label and nowhere else. `autocast` runs matrix products in bf16.
    """

    by_kind: Tensor  # the latest forward's loss, told apart by `Kind`: (kinds,), without a gradient

    def __init__(
        self,
        model: Any,
        autocast: bool,
        attention: Attention = Attention.DENSE,
        cross_entropy: CrossEntropy = CrossEntropy.CHUNKED,
    ) -> None:
        super().__init__()
        self.lm = model
        self.autocast = autocast
        self.attention = attention
        teach_head(model.get_output_embeddings(), cross_entropy)

    def forward(self, batch: dict[str, Tensor], plain: bool) -> Tensor:
        """Sum of cross entropies. `plain`: every row is one main thread, so plain causal attention is the mask."""
        supervised = batch["labels"] >= 0
        with self._precision(batch):
            hidden = self._hidden(batch, plain)[supervised]
            head = self.lm.get_output_embeddings()
            loss, self.by_kind = head(hidden, batch["labels"][supervised], batch["kinds"][supervised])
        total: Tensor = loss
        return total

    def logits(self, batch: dict[str, Tensor], plain: bool) -> tuple[Tensor, Tensor]:
        """Logits at the supervised positions, and their labels."""
        supervised = batch["labels"] >= 0
        with self._precision(batch):
            logits: Tensor = self.lm.get_output_embeddings()(self._hidden(batch, plain)[supervised])
        return logits, batch["labels"][supervised]

    def _hidden(self, batch: dict[str, Tensor], plain: bool) -> Tensor:
        dtype = torch.bfloat16 if self.autocast else self.lm.dtype
        return hidden_states(self.lm.get_decoder(), batch, self.attention, plain, dtype)

    def _precision(self, batch: dict[str, Tensor]) -> contextlib.AbstractContextManager[object]:
        device = batch["ids"].device.type
        return torch.autocast(device, dtype=torch.bfloat16) if self.autocast else contextlib.nullcontext()
