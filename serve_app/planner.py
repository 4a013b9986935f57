"""The planner deployment: runs the engine loop for many questions at once, and no model.

It knows the loop, the tokenizer and the model's card; tokens are sampled behind the LLM seam. `Planner` is a plain
class; `app` makes a Ray Serve deployment of `ServePlanner`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_app.serve_llm import ServeLLM
from sprint.card import ModelCard
from sprint.engine import Engine
from sprint.errors import InputError
from sprint.events import Delta, Event
from sprint.llm import LLM
from sprint.options import Dispatch, EngineOptions, Gate, Mode, View
from sprint.render import Prompter
from sprint.tokenizer import load_tokenizer
from sprint.types import Rollout

GATHER_S = 0.05  # text deltas are gathered this long before they are sent on, since each message costs


class Planner:
    """Answers questions with one model.

    llm             where tokens are sampled
    context_tokens  the model's context window
    """

    def __init__(self, llm: LLM, prompter: Prompter, context_tokens: int) -> None:
        self._prompter = prompter
        self._context_tokens = context_tokens
        self._engine = Engine(llm, llm, prompter, context_tokens)

    async def rollout(self, question: str, options: Mapping[str, Any]) -> Rollout:
        """The finished rollout. Raises InputError for options or questions that cannot be served."""
        return await self._engine.run(self._checked(question), engine_options(options))

    async def events(self, question: str, options: Mapping[str, Any]) -> AsyncGenerator[list[Event], None]:
        """The rollout's events as they happen, a few at a time. Raises like `rollout`."""
        async with aclosing(self._engine.events(self._checked(question), engine_options(options))) as events:
            async for batch in gathered(events):
                yield batch

    async def model_health(self) -> None:
        """Returns once the model has answered; raises when it is not healthy."""

    def _checked(self, question: str) -> str:
        """The question, once it is known to fit."""
        tokens = len(self._prompter.question_ids(question))
        if tokens >= self._context_tokens:
            raise InputError(
                f"the question takes {tokens} tokens with its prompt, the model's context window holds"
                f" {self._context_tokens} and must leave room for an answer",
                field="messages",
            )
        return question


class ServePlanner(Planner):
    """The planner as a deployment: the model is a folder, its replicas stand behind a Ray Serve handle."""

    def __init__(self, handle: Any, model: Path, context_tokens: int) -> None:
        self._health = handle.options(method_name="num_unfinished")
        super().__init__(ServeLLM(handle), Prompter(load_tokenizer(model), ModelCard.load(model)), context_tokens)

    async def model_health(self) -> None:
        await self._health.remote()


def engine_options(values: Mapping[str, Any]) -> EngineOptions:
    """The engine's options with a request's `values` on top. Raises ConfigError naming the option at fault."""
    known = dict(values)
    for key, choice in (("mode", Mode), ("dispatch", Dispatch), ("view", View), ("gate", Gate)):
        if key in known:
            known[key] = choice(known[key])
    return EngineOptions(**known)


async def gathered(events: AsyncIterator[Event], every_s: float = GATHER_S) -> AsyncIterator[list[Event]]:
    """`events` in lists: text goes out every `every_s`, anything else at once with the text before it."""
    held: list[Event] = []
    sent_at = time.monotonic()
    async for event in events:
        _add(held, event)
        if not isinstance(event, Delta) or time.monotonic() - sent_at >= every_s:
            yield held
            held, sent_at = [], time.monotonic()
    if held:
        yield held


def _add(held: list[Event], event: Event) -> None:
    """Text goes to the text of its own block, if some is held: blocks that run side by side are not mixed up."""
    if isinstance(event, Delta):
        for index, other in enumerate(held):
            if isinstance(other, Delta) and replace(other, text="") == replace(event, text=""):
                held[index] = replace(other, text=other.text + event.text)
                return
    held.append(event)
