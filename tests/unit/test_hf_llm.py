"""The LLM seam over a `transformers` model in this process: the laws of the seam, and agreement with the model itself.

The model is tiny and random, so its texts are garbage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sprint.errors import LLMError
from sprint.llm import Sampling
from sprint.tokenizer import HFTokenizer
from tests.edge.tiny_model import ENDING, ENDLESS, greedy, make_model, make_tokenizer
from tests.llm_contract import GREEDY, LAWS, Subject, ids
from train.hf_llm import HFLLM

CONTEXT_TOKENS = 600


@dataclass(frozen=True)
class Tiny:
    """A random model, and its tokenizer as the library's and as ours."""

    model: Any
    hf: Any
    tokenizer: HFTokenizer

    def llm(self, at_once: int = 8) -> HFLLM:
        return HFLLM(self.model, self.tokenizer, CONTEXT_TOKENS, at_once)

    def subject(self, llm: HFLLM) -> Subject:
        async def active() -> int:
            return llm.running

        endless, ending = (self.tokenizer.encode(text) for text in (ENDLESS, ENDING))
        return Subject(llm, self.tokenizer, endless, ending, CONTEXT_TOKENS, active)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder: Path = tmp_path_factory.mktemp("tiny")
    hf = make_tokenizer()
    hf.save_pretrained(folder)
    return Tiny(make_model(hf).eval(), hf, HFTokenizer(folder))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_model_in_this_process_keeps_the_contract_of_the_seam(
    tiny: Tiny, law: Callable[[Subject], Coroutine[Any, Any, None]]
) -> None:
    asyncio.run(law(tiny.subject(tiny.llm())))


def test_it_says_what_the_model_says_by_itself(tiny: Tiny) -> None:
    """Calls of unequal lengths that join and leave while others run: none notices another."""
    texts = [ENDLESS * n for n in (1, 3, 2)] + [ENDING, "\n", "count"]

    async def ask() -> list[tuple[int, ...]]:
        subject = tiny.subject(tiny.llm(at_once=2))
        limits = (40, 7, 25, 40, 13, 40)
        asked = zip(texts, limits, strict=True)
        calls = (subject.ask(Sampling(limit, 0.0), tiny.tokenizer.encode(text)) for text, limit in asked)
        return [ids(chunks) for chunks in await asyncio.gather(*calls)]

    for text, found in zip(texts, asyncio.run(ask()), strict=True):
        assert list(found) == greedy(tiny.model, tiny.hf, text)[: len(found)]


def test_it_leaves_the_global_random_state_alone(tiny: Tiny) -> None:
    before = torch.get_rng_state()
    asyncio.run(tiny.subject(tiny.llm()).ask(Sampling(20, temperature=1.0, top_p=0.9)))
    assert torch.equal(before, torch.get_rng_state())


def test_only_the_likeliest_are_sampled(tiny: Tiny) -> None:
    subject = tiny.subject(tiny.llm())
    nearly_greedy = Sampling(40, temperature=1.0, top_p=1e-6, seed=3)
    assert ids(asyncio.run(subject.ask(nearly_greedy))) == ids(asyncio.run(subject.ask(GREEDY)))


def test_what_the_model_raises_every_call_raises(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = tiny.llm()
    monkeypatch.setattr(llm, "_logits", lambda *_: (_ for _ in ()).throw(LLMError("out of memory")))

    async def ask() -> list[Any]:
        calls = (_read(llm, tiny.tokenizer.encode(ENDLESS)) for _ in range(3))
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [str(error) for error in asyncio.run(ask())] == ["out of memory"] * 3
    assert llm.running == 0


async def _read(llm: HFLLM, prompt: list[int]) -> None:
    async with aclosing(llm.stream(prompt, GREEDY)) as chunks:
        async for _ in chunks:
            pass
