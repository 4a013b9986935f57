"""The engine: answers questions with a planner and executors (paper §3.1).

The context of a rollout is a list of token ids that only grows: what a model wrote is never tokenised again, and every
executor's context is a prefix of the planner's own ids plus a short header, so the engine's prefix cache serves it.
The loop itself stands in `rollout`; this is its door: events as they happen, or the finished rollout.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from sprint.events import Event, Finished
from sprint.gate import Policy, policy
from sprint.llm import LLM
from sprint.options import EngineOptions
from sprint.render import Prompter
from sprint.rollout import Emit, Loop
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
        """The finished rollout. Always ends with an answer or a stop reason; cancelling it cancels its calls.

        Nobody reads along, so no events are made, and models may send what they say in few long pieces.
        """
        return await self._loop(question, options, session, None).drive()

    async def events(
        self, question: str, options: EngineOptions | None = None, *, session: str = ""
    ) -> AsyncGenerator[Event, None]:
        """The rollout as it happens; the last event is `Finished`. Closing the generator cancels the rollout."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        task = asyncio.create_task(self._loop(question, options, session, queue.put_nowait).drive())
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield Finished(await task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _loop(self, question: str, options: EngineOptions | None, session: str, emit: Emit | None) -> Loop:
        chosen = options or EngineOptions()
        models, decides = (self.planner, self.executor), self.policy or policy(chosen.gate)
        return Loop(models, self.prompter, self.context_tokens, question, chosen, decides, session, emit)
