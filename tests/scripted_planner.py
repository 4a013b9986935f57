"""A planner without Ray or vLLM for tests of the HTTP door: the real engine over a scripted model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serve_app.planner import engine_options, gathered
from serve_app.pools.readiness import PoolReadiness, Readiness, ReadinessState
from serve_app.pools.stats import PoolStats, ServiceStats
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import InputError
from sprint.events import Event
from sprint.llm import Chunk, Sampling
from sprint.render import Prompter
from sprint.scripted import Script, ScriptedLLM
from sprint.tokenizer import ByteTokenizer
from sprint.types import Rollout

BYTES = ByteTokenizer()
CONTEXT_TOKENS = 4000


class ScriptedPlanner:
    """A `PlannerClient`. `asked` holds the request id and options of every call."""

    def __init__(self, script: Script, method: Method = Method.SPRINT, *, token_s: float = 0.0) -> None:
        self.llm = ScriptedLLM(BYTES, script, context_tokens=CONTEXT_TOKENS, token_s=token_s)
        self._prompter = Prompter(BYTES, ModelCard(method, Instruction.NONE))
        self._engine = Engine(self.llm, self.llm, self._prompter, CONTEXT_TOKENS)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.state = Readiness(ReadinessState.READY, "", (PoolReadiness("model", ReadinessState.READY, "", 1),))

    async def rollout(self, question: str, options: Mapping[str, Any], request_id: str) -> Rollout:
        self._ask(question, options, request_id)
        return await self._engine.run(question, engine_options(options), session=request_id)

    async def events(
        self, question: str, options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Event], None]:
        self._ask(question, options, request_id)
        running = self._engine.events(question, engine_options(options), session=request_id)
        async with aclosing(running) as events:
            async for batch in gathered(events):
                yield batch

    async def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Chunk], None]:
        self.asked.append((request_id, dict(options)))
        ids = BYTES.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if any(token_id > 255 for token_id in ids):
            raise InputError("a token id of the prompt is above 255", field="prompt")
        async with aclosing(self.llm.stream(ids, Sampling(**options), session=request_id)) as chunks:
            async for chunk in chunks:
                yield [chunk]

    async def encode(self, text: str) -> list[int]:
        return BYTES.encode(text)

    async def readiness(self) -> Readiness:
        return self.state

    async def stats(self) -> ServiceStats:
        return ServiceStats((PoolStats("model"),))

    def _ask(self, question: str, options: Mapping[str, Any], request_id: str) -> None:
        self.asked.append((request_id, dict(options)))
        tokens = len(self._prompter.question_ids(question))
        if tokens >= CONTEXT_TOKENS:
            raise InputError(f"the question takes {tokens} tokens, the window holds {CONTEXT_TOKENS}", field="messages")
