"""The tokenizer of models that start from scratch: a byte-level BPE in which protocol tags and small numbers are whole.

It is trained on the texts it will read. A number from 0 to 99 is one token wherever it stands, because arithmetic is
learned far sooner so, and so is a sign with its number (`_signed_numbers`); a tag with the white space that customarily
goes with it is one token, so a tag is never half written. Any text, seen or not, comes back unchanged but for Unicode
normalisation (NFC). It knows nothing of models.

For a model of type `qwen2`, `transformers` always loads a Qwen2 tokenizer and puts that tokenizer's own split pattern,
normalisation and unknown token in place of what the file says. So those are used here from the start, and numbers are
added tokens, which stand outside the split: every loader then gives the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sprint.tags import FINAL_CLOSE, FINAL_OPEN, THINK_CLOSE, THINK_OPEN
from sprint.tokenizer import QWEN2_SPLIT

PAD = "<|pad|>"
EOS = "<|endoftext|>"  # also what the Qwen2 tokenizer takes for unknown text
_NUMBERED = re.compile(r"(?:prompt|execution)_(\d+)\.(\d+)|Plan_(\d+)")
_SIGNED_NUMBER = re.compile(r"([-+*/])(\d{1,9})")
_LARGEST_SIGNED = 20
_NUMBERS = [str(number) for number in range(10, 100)]  # single digits are bytes


def tag_tokens(num_rounds: int, num_prompts: int) -> list[str]:
    """The tags of `num_rounds` rounds with `num_prompts` prompts each, every one with its customary white space."""
    tokens = [THINK_OPEN, THINK_CLOSE, FINAL_OPEN, FINAL_CLOSE, "\\boxed{"]
    for i in range(1, num_rounds + 1):
        tokens += [f"<Plan_{i}>", f"\n</Plan_{i}>", f"\n\n<Execution_{i}>", f"\n</Execution_{i}>\n\n"]
        for k in range(1, num_prompts + 1):
            tokens += [f"\n<prompt_{i}.{k}> ", f" </prompt_{i}.{k}>", f" execution_{i}.{k}"]
            tokens += [f"\n<execution_{i}.{k}>\n", f"\n</execution_{i}.{k}>"]
    return tokens


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> Any:
    """A `transformers` fast tokenizer trained on `texts`; the same texts give the same tokenizer.

    `vocab_size` bounds the byte pairs, before tags are added. Tags are added for as many rounds and prompts as the
    texts hold.
    """
    from transformers import PreTrainedTokenizerFast

    known = list(texts)
    backend = _byte_pairs(known, vocab_size)
    backend.add_tokens(_added(_NUMBERS + _signed_numbers(known) + tag_tokens(*_sizes(known))))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def _signed_numbers(texts: Iterable[str]) -> list[str]:
    """`+1`, `*9` …, where the texts never have a sign before a larger number: one thing to look up instead of two."""
    found = {match for text in texts for match in _SIGNED_NUMBER.findall(text)}
    signs = sorted({sign for sign, _ in found})
    largest = max((int(number) for _, number in found), default=0)
    small = largest <= _LARGEST_SIGNED
    return [f"{sign}{number}" for sign in signs for number in range(1, largest + 1)] if small else []


def _sizes(texts: Iterable[str]) -> tuple[int, int]:
    """The highest round and the highest prompt number named in the texts; 1 at least."""
    found = [match.groups() for text in texts for match in _NUMBERED.finditer(text)]
    rounds = [int(item or plan) for item, _, plan in found]
    prompts = [int(number) for _, number, _ in found if number]
    return max(rounds, default=1), max(prompts, default=1)


def _added(tokens: Iterable[str]) -> list[Any]:
    from tokenizers import AddedToken

    return [AddedToken(token, normalized=False, special=False) for token in tokens]


def _byte_pairs(texts: list[str], vocab_size: int) -> Any:
    """A BPE trained on the texts, tags cut out."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_between_tags(texts), trainer)
    return backend


def _between_tags(texts: list[str]) -> Iterator[str]:
    """What is left of the texts between the tag tokens: what byte pairs will have to cover."""
    longest_first = sorted(tag_tokens(*_sizes(texts)), key=len, reverse=True)
    tags = re.compile("|".join(map(re.escape, longest_first)))
    for text in texts:
        yield from (piece for piece in tags.split(text) if piece)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    tokenizer.save_pretrained(str(folder))
