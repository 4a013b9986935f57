"""What a rollout is fuzzed with: two models that say given things in given chunks. Plain JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sprint.errors import ContextOverflow, LLMError, LLMTimeout, LLMUnavailable
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import IncrementalDecoder, Tokenizer

ERRORS: dict[str, type[LLMError]] = {
    "error": LLMError,
    "unavailable": LLMUnavailable,
    "timeout": LLMTimeout,
    "overflow": ContextOverflow,
}
FINISHES = {"eos": FinishReason.EOS, "length": FinishReason.LENGTH, "stop": FinishReason.STOP, "silent": None}
HEADER = re.compile(r"<execution_(\d+)\.(\d+)>\n\Z")
_HEADER_IDS = 40


@dataclass(frozen=True)
class Say:
    """What a model says to one call.

    chunks   sizes of the chunks, over and over
    end      how it ends after the text, if nothing ends it before: a key of FINISHES or of ERRORS
    delay    virtual seconds before each chunk
    rude     it writes on after a stop string
    """

    text: str
    chunks: tuple[int, ...] = (1,)
    end: str = "eos"
    delay: float = 0.0
    rude: bool = False


_ANSWER = Say("<Final_answer>\n\\boxed{0}\n</Final_answer>")


@dataclass(frozen=True)
class Case:
    """One rollout. The planner says `planner` in turn and then answers; an executor's words depend on its place alone.

    options  those of EngineOptions that are not the default, as JSON values
    """

    planner: tuple[Say, ...] = ()
    executor: tuple[Say, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    context_tokens: int = 100_000
    tokenizer: str = "pieces"
    question: str = "q?"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, without what is as it mostly is."""
        whole, usual = asdict(self), asdict(Case())
        for role in ("planner", "executor"):
            plain = asdict(Say(""))
            whole[role] = [{k: v for k, v in say.items() if k == "text" or v != plain[k]} for say in whole[role]]
        return {key: value for key, value in whole.items() if value != usual[key]}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Case:
        says = {
            role: tuple(Say(**say | {"chunks": tuple(say.get("chunks", (1,)))}) for say in values.get(role, ()))
            for role in ("planner", "executor")
        }
        return Case(**values | says)


@dataclass
class Call:
    """One call as it was made, and what was sampled."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling
    sampled: list[int] = field(default_factory=list)


class FuzzedModel:
    """Honours the LLM seam as an engine would, but for `rude`; counts what runs."""

    def __init__(self, tokenizer: Tokenizer, choose: Callable[[Sequence[int]], Say], context_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.choose = choose
        self.context_tokens = context_tokens
        self.calls: list[Call] = []
        self.running = self.most_running = 0

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`."""
        call = Call(tuple(prompt_ids), sampling)
        self.calls.append(call)
        room = min(sampling.max_tokens, self.context_tokens - len(call.prompt_ids))
        if room < 1:
            raise ContextOverflow(f"a prompt of {len(call.prompt_ids)} tokens, expected < {self.context_tokens}")
        say = self.choose(call.prompt_ids)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            ids, pieces, end = _sampled(self.tokenizer, say, () if say.rude else sampling.stop, room)
            start = turn = 0
            while start < len(ids):
                await asyncio.sleep(say.delay)
                stop = start + say.chunks[turn % len(say.chunks)]
                call.sampled += ids[start:stop]
                last = stop >= len(ids)
                reason = FINISHES.get(end) if last else None
                yield Chunk(tuple(ids[start:stop]), "".join(pieces[start:stop]), reason)
                start, turn = stop, turn + 1
            if end in ERRORS:
                await asyncio.sleep(say.delay)
                raise ERRORS[end](f"scripted: {end}")
        finally:
            self.running -= 1


def _sampled(tokenizer: Tokenizer, say: Say, stops: tuple[str, ...], room: int) -> tuple[list[int], list[str], str]:
    """The ids, their text and the end: the text's own, a stop string or the limit, whichever comes first."""
    ids = tokenizer.encode(say.text)
    pieces = IncrementalDecoder(tokenizer).feed(ids)
    end = say.end
    found = [say.text.index(stop) + len(stop) for stop in stops if stop in say.text]
    if found:
        ids, pieces = _up_to(min(found), ids, pieces)
        end = "stop"
    elif end == "eos" and tokenizer.eos_id is not None:
        ids, pieces = [*ids, tokenizer.eos_id], [*pieces, ""]
    if len(ids) > room:
        return ids[:room], pieces[:room], "length"
    return ids, pieces, end


def _up_to(length: int, ids: list[int], pieces: list[str]) -> tuple[list[int], list[str]]:
    """As many ids as it takes to write `length` characters; the last one's text ends there."""
    count = written = 0
    while written < length:
        written += len(pieces[count])
        count += 1
    last = pieces[count - 1]
    return ids[:count], [*pieces[: count - 1], last[: len(last) - (written - length)]]


def planner_of(case: Case, tokenizer: Tokenizer) -> FuzzedModel:
    """Says what the case's planner says, in turn, and then answers."""
    says = iter(case.planner)
    return FuzzedModel(tokenizer, lambda _: next(says, _ANSWER), case.context_tokens)


def executor_of(case: Case, tokenizer: Tokenizer) -> FuzzedModel:
    """Says to a prompt what its place in the plan says, whoever else runs and whenever it is asked."""
    says = case.executor or (Say("done\n</execution_1.1>"),)

    def choose(prompt_ids: Sequence[int]) -> Say:
        header = HEADER.search(tokenizer.decode(prompt_ids[-_HEADER_IDS:]))
        round, number = (int(header[1]), int(header[2])) if header else (1, 1)
        return says[(3 * (round - 1) + number - 1) % len(says)]

    return FuzzedModel(tokenizer, choose, case.context_tokens)
