"""The planner deployment: runs the engine loop for many questions at once, and no model.

It knows the loop, the tokenizer and the model's card; tokens are sampled behind the LLM seam. `Planner` is a plain
class; `app` makes a Ray Serve deployment of `ServePlanner`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from serve_app.config import AppConfig, vocab_size
from serve_app.encoding import Encoder
from serve_app.observe import logs
from serve_app.pools.house import House
from serve_app.pools.pools import Controller, Pool, ServePool
from serve_app.pools.readiness import Readiness, ReadinessState, overall
from serve_app.pools.remote import RemotePool
from serve_app.pools.stats import ServiceStats
from serve_app.pools.versions import door_version
from serve_app.pools.width import Width
from sprint.card import ModelCard
from sprint.engine import Engine
from sprint.errors import InputError
from sprint.events import Delta, Event
from sprint.llm import LLM, Chunk, Sampling
from sprint.options import Dispatch, EngineOptions, Gate, Mode, View
from sprint.render import Prompter
from sprint.tokenizer import load_tokenizer
from sprint.types import Rollout

GATHER_S = 0.05  # text deltas are gathered this long before they are sent on, since each message costs


class Planner:
    """Answers questions with one model, or with two that speak the same tokens.

    llm             where the planner's tokens are sampled
    context_tokens  the context window of the smaller model
    executor        where the executors' tokens are sampled; None: where the planner's are
    vocab_size      ids from here on are no tokens; None: not known
    """

    def __init__(
        self,
        llm: LLM,
        prompter: Prompter,
        context_tokens: int,
        executor: LLM | None = None,
        vocab_size: int | None = None,
    ) -> None:
        self._llm = llm
        self._prompter = prompter
        self._context_tokens = context_tokens
        self._vocab_size = vocab_size
        self._engine = Engine(llm, executor or llm, prompter, context_tokens)
        self._house = House()
        self._questions = Encoder(prompter.question_ids)
        self._texts = Encoder(prompter.tokenizer.encode)

    async def rollout(
        self, question: str, options: Mapping[str, Any], request_id: str = "", caller: str = ""
    ) -> Rollout:
        """The finished rollout. Raises InputError for options or questions that cannot be served.

        `request_id` names it everywhere; when the `caller` (see `callers`) dies, so does the work for it.
        """
        logs.bind(request_id)
        chosen = self._narrowed(engine_options(options))
        async with self._house.visit(caller):
            return await self._engine.run(await self._checked(question), chosen, session=request_id)

    async def events(
        self, question: str, options: Mapping[str, Any], request_id: str = "", caller: str = ""
    ) -> AsyncGenerator[list[Event], None]:
        """The rollout's events as they happen, a few at a time. Raises like `rollout`."""
        logs.bind(request_id)
        chosen = self._narrowed(engine_options(options))
        async with (
            self._house.visit(caller),
            aclosing(self._engine.events(await self._checked(question), chosen, session=request_id)) as events,
        ):
            async for batch in gathered(events):
                yield batch

    async def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str = "", caller: str = ""
    ) -> AsyncGenerator[list[Chunk], None]:
        """Raw text or token ids, continued by the planner's model. `options` are fields of `sprint.llm.Sampling`.

        The first chunk's `cached_tokens` are the call's. Raises InputError for prompts that cannot be served.
        """
        logs.bind(request_id)
        ids = await self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        self._check_ids(ids)
        asked = Sampling(**{**options, "stop": tuple(options.get("stop") or ())})
        sampling = replace(asked, max_tokens=min(asked.max_tokens, self._context_tokens - len(ids)))
        async with self._house.visit(caller), aclosing(self._llm.stream(ids, sampling, session=request_id)) as chunks:
            async for chunk in chunks:
                yield [chunk]

    async def encode(self, text: str) -> list[int]:
        """The ids that `complete` makes of a text. Raises InputError when they cannot be served."""
        ids = list(await self._texts.ids(text))
        self._check_ids(ids)
        return ids

    async def readiness(self) -> Readiness:
        """Whether a model answers."""
        return overall([])

    async def stats(self) -> ServiceStats:
        """What the pools are doing."""
        return ServiceStats(rollouts=len(self._house))

    async def close(self, grace_s: float) -> None:
        """Takes no more questions; those that are not answered after `grace_s` end with an error."""
        await self._house.close(grace_s)

    def _narrowed(self, options: EngineOptions) -> EngineOptions:
        """The options under the current load."""
        return options

    async def _checked(self, question: str) -> str:
        """The question, once it is known to fit."""
        tokens = len(await self._questions.ids(question))
        if tokens >= self._context_tokens:
            raise InputError(
                f"the question takes {tokens} tokens with its prompt, the model's context window holds"
                f" {self._context_tokens} and must leave room for an answer",
                field="messages",
            )
        return question

    def _check_ids(self, ids: Sequence[int]) -> None:
        if not ids:
            raise InputError("the prompt is empty, expected at least one token", field="prompt")
        if len(ids) >= self._context_tokens:
            raise InputError(
                f"the prompt has {len(ids)} tokens, the model's context window holds {self._context_tokens}"
                " and must leave room for an answer",
                field="prompt",
            )
        if self._vocab_size is not None and not all(0 <= token_id < self._vocab_size for token_id in ids):
            raise InputError(
                f"the prompt has ids that are no tokens, expected 0 to {self._vocab_size - 1}", field="prompt"
            )


class ServePlanner(Planner):
    """The planner as a deployment.

    handles   of the pools' deployments, by the pools' names; pools that are endpoints elsewhere have none
    versions  of the models that it works with, by the pools' names

    It is made in the event loop that it works in, and in an upgrade not before its models' replicas are there: until
    then Ray Serve leaves the questions to the planners of the models before.
    """

    async def __init__(  # type: ignore[misc]  # which Ray Serve awaits
        self,
        handles: Mapping[str, Any],
        config: AppConfig,
        context_tokens: int,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        logs.setup(deployment="Planner")
        pools = config.pools()
        first = pools[0][1]
        controller = Controller()
        prompter = Prompter(load_tokenizer(first.model.resolve()), ModelCard.load(first.model))
        self._pools: list[Pool] = [
            RemotePool(name, pool.endpoint, prompter.tokenizer)
            if pool.endpoint
            else ServePool(
                name, handles[name], controller, pool.min_replicas, config.patience_s, (versions or {}).get(name, "")
            )
            for name, pool in pools
        ]
        executor = self._pools[-1].llm
        super().__init__(self._pools[0].llm, prompter, context_tokens, executor, vocab_size(first.model))
        self._width = Width(self.stats, pools[-1][1].max_num_seqs) if config.adaptive_width else None
        self._versions = dict(versions or {})
        await asyncio.gather(*(pool.turn() for pool in self._pools))

    async def close(self, grace_s: float) -> None:
        """See Planner."""
        await super().close(grace_s)
        for pool in self._pools:
            pool.leave()

    async def version(self) -> str:
        """Of its models, as doors know it."""
        return door_version(self._versions)

    async def readiness(self) -> Readiness:
        """Whether all pools answer. Never waits long, even while there is no replica at all."""
        if self._house.is_closed:
            return Readiness(ReadinessState.STOPPING, "questions inside are finished, no new ones are taken")
        return overall(await asyncio.gather(*(pool.readiness() for pool in self._pools)))

    async def stats(self) -> ServiceStats:
        """What the pools are doing, as far as they answer."""
        pools = await asyncio.gather(*(pool.stats() for pool in self._pools))
        return ServiceStats(tuple(pools), len(self._house))

    def _narrowed(self, options: EngineOptions) -> EngineOptions:
        if self._width is None:
            return options
        return replace(options, max_concurrency=self._width.at_most(options.max_concurrency))


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
