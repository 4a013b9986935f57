"""The contract of the LLM seam as a suite: every implementation is held to the same laws.

Each law is an async function of a `Subject`: an LLM and what a law must know to ask it something. A test module runs
them all with `check`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest

from sprint.errors import ContextOverflow
from sprint.llm import LLM, Chunk, FinishReason, Sampling
from sprint.tokenizer import Tokenizer

GREEDY = Sampling(max_tokens=40, temperature=0.0)


@dataclass(frozen=True)
class Subject:
    """An implementation under test.

    prompt_ids      a prompt after which the model goes on for 40 tokens or more
    eos_prompt_ids  a prompt after which it ends the sequence within 40 tokens; None: no such prompt is known
    context_tokens  the context window
    active          how many calls the engine behind the LLM is working on
    """

    llm: LLM
    tokenizer: Tokenizer
    prompt_ids: Sequence[int]
    eos_prompt_ids: Sequence[int] | None
    context_tokens: int
    active: Callable[[], Awaitable[int]]

    async def ask(self, sampling: Sampling, prompt_ids: Sequence[int] | None = None) -> list[Chunk]:
        """All chunks of one call."""
        prompt = self.prompt_ids if prompt_ids is None else prompt_ids
        async with aclosing(self.llm.stream(prompt, sampling)) as chunks:
            return [chunk async for chunk in chunks]


def ids(chunks: Sequence[Chunk]) -> tuple[int, ...]:
    return tuple(token_id for chunk in chunks for token_id in chunk.token_ids)


def text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


async def ids_and_text_say_the_same(subject: Subject) -> None:
    chunks = await subject.ask(GREEDY)
    decoded = subject.tokenizer.decode(ids(chunks))
    assert decoded.rstrip("\ufffd").startswith(text(chunks).rstrip("\ufffd"))
    assert decoded[len(text(chunks)) :].strip("\ufffd") == ""  # only an unfinished character may be missing


async def only_the_last_chunk_says_why_it_stopped(subject: Subject) -> None:
    *before, last = await subject.ask(GREEDY)
    assert last.finish_reason is not None
    assert all(chunk.finish_reason is None for chunk in before)


async def a_call_never_exceeds_its_token_limit(subject: Subject) -> None:
    for limit in (1, 7):
        chunks = await subject.ask(replace(GREEDY, max_tokens=limit))
        assert len(ids(chunks)) == limit
        assert chunks[-1].finish_reason is FinishReason.LENGTH


async def a_stop_string_ends_the_text_and_its_ids_are_kept(subject: Subject) -> None:
    whole = await subject.ask(GREEDY)
    stop = text(whole)[8:10]
    chunks = await subject.ask(replace(GREEDY, stop=(stop, "a string no model writes")))
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert text(chunks).endswith(stop)
    assert text(chunks).count(stop) == 1
    assert ids(chunks) == ids(whole)[: len(ids(chunks))]
    assert stop in subject.tokenizer.decode(ids(chunks))


async def the_end_of_sequence_is_an_id_and_no_text(subject: Subject) -> None:
    if subject.eos_prompt_ids is None:
        return
    chunks = await subject.ask(GREEDY, subject.eos_prompt_ids)
    assert chunks[-1].finish_reason is FinishReason.EOS
    assert ids(chunks)[-1] == subject.tokenizer.eos_id
    assert text(chunks) == subject.tokenizer.decode(ids(chunks)[:-1])


async def cached_tokens_are_unknown_or_part_of_the_prompt(subject: Subject) -> None:
    for chunk in await subject.ask(GREEDY):
        assert chunk.cached_tokens is None or 0 <= chunk.cached_tokens <= len(subject.prompt_ids)


async def greedy_calls_repeat_themselves(subject: Subject) -> None:
    first, second = await asyncio.gather(subject.ask(GREEDY), subject.ask(GREEDY))
    assert ids(first) == ids(second)


async def a_seed_makes_sampling_repeat_itself(subject: Subject) -> None:
    seeded = replace(GREEDY, temperature=1.0, seed=7)
    assert ids(await subject.ask(seeded)) == ids(await subject.ask(seeded))


async def chunk_size_is_only_a_matter_of_packing(subject: Subject) -> None:
    one = await subject.ask(GREEDY)
    for packing in (replace(GREEDY, chunk_tokens=16), replace(GREEDY, watched=False)):
        many = await subject.ask(packing)
        assert (ids(one), text(one)) == (ids(many), text(many))


async def closing_the_generator_cancels_the_call(subject: Subject) -> None:
    stream = subject.llm.stream(subject.prompt_ids, replace(GREEDY, max_tokens=subject.context_tokens))
    await anext(stream)
    assert await subject.active() == 1
    await stream.aclose()
    await _until_idle(subject)


async def cancelling_the_reader_cancels_the_call(subject: Subject) -> None:
    started = asyncio.Event()

    async def read() -> None:
        sampling = replace(GREEDY, max_tokens=subject.context_tokens)
        async with aclosing(subject.llm.stream(subject.prompt_ids, sampling)) as chunks:
            async for _ in chunks:
                started.set()

    reader = asyncio.create_task(read())
    await started.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await _until_idle(subject)


async def _until_idle(subject: Subject) -> None:
    async with asyncio.timeout(5):
        while await subject.active():
            await asyncio.sleep(0.02)


async def a_prompt_that_fills_the_window_overflows(subject: Subject) -> None:
    prompt = (list(subject.prompt_ids) * subject.context_tokens)[: subject.context_tokens]
    with pytest.raises(ContextOverflow, match=str(subject.context_tokens)):
        await subject.ask(GREEDY, prompt)


async def calls_do_not_mix(subject: Subject) -> None:
    prompts = [list(subject.prompt_ids) * n for n in (1, 2, 3)]
    alone = [ids(await subject.ask(GREEDY, prompt)) for prompt in prompts]
    together = await asyncio.gather(*(subject.ask(GREEDY, prompt) for prompt in prompts))
    assert [ids(chunks) for chunks in together] == alone


LAWS: tuple[Callable[[Subject], Awaitable[None]], ...] = (
    ids_and_text_say_the_same,
    only_the_last_chunk_says_why_it_stopped,
    a_call_never_exceeds_its_token_limit,
    a_stop_string_ends_the_text_and_its_ids_are_kept,
    the_end_of_sequence_is_an_id_and_no_text,
    cached_tokens_are_unknown_or_part_of_the_prompt,
    greedy_calls_repeat_themselves,
    a_seed_makes_sampling_repeat_itself,
    chunk_size_is_only_a_matter_of_packing,
    closing_the_generator_cancels_the_call,
    cancelling_the_reader_cancels_the_call,
    a_prompt_that_fills_the_window_overflows,
    calls_do_not_mix,
)
