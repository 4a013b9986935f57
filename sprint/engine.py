"""The engine: answers questions with a planner and executors (paper §3.1).

The context of a rollout is a list of token ids that only grows: what a model wrote is never tokenised again, and every
executor's context is a prefix of the planner's own ids plus a short header, so the engine's prefix cache serves it.
The loop itself stands in `rollout`; this is its door: events as they happen, or the finished rollout.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from sprint.events import Event, Finished
from sprint.gate import Policy, policy
from sprint.llm import LLM
from sprint.options import EngineOptions
from sprint.render import Prompter
from sprint.rollout import Loop
from sprint.types import Rollout


class Engine:
    """Answers questions with a planner and executors (roles: both may be one model).

    context_tokens  the context window of the smaller of the two
    policy          decides in mode `auto`; None: the one that the options' `gate` names
    """

    def __init__(
        self, planner: LLM, executor: LLM, prompter: Prompter, context_tokens: int, policy: Policy | None = None
    ) -> None:
        self.planner = planner
        self.executor = executor
        self.prompter = prompter
        self.context_tokens = context_tokens
        self.policy = policy

    async def run(self, question: str, options: EngineOptions | None = None, *, session: str = "") -> Rollout:
        """The finished rollout. Always ends with an answer or a stop reason; cancelling it cancels its calls."""
        async with aclosing(self._events(question, options, session, watched=False)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.rollout
        raise AssertionError("a rollout ended without its last event")

    async def events(
        self, question: str, options: EngineOptions | None = None, *, session: str = ""
    ) -> AsyncGenerator[Event, None]:
        """The rollout as it happens; the last event is `Finished`. Closing the generator cancels the rollout."""
        async with aclosing(self._events(question, options, session, watched=True)) as events:
            async for event in events:
                yield event

    async def _events(
        self, question: str, options: EngineOptions | None, session: str, *, watched: bool
    ) -> AsyncGenerator[Event, None]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        chosen = options or EngineOptions()
        models, decides = (self.planner, self.executor), self.policy or policy(chosen.gate)
        tell = queue.put_nowait
        loop = Loop(models, self.prompter, self.context_tokens, question, chosen, decides, session, tell, watched)
        task = asyncio.create_task(loop.drive())
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield Finished(await task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
