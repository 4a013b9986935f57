"""The planner as a deployment on a model that needs no engine: in a module that replicas can import."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence

from serve_app.observe import logs
from serve_app.planner import Planner
from sprint.card import Instruction, Method, ModelCard
from sprint.llm import Chunk, Sampling
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from tests.unit.rollouts import BYTES, lenient

CONTEXT_TOKENS = 4000

log = logging.getLogger("serve_app.of_a_test")


class TalkingLLM(ScriptedLLM):
    """Logs every call, in the task that makes it."""

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        logs.say(log, logging.INFO, "called", session=session)
        async for chunk in super().stream(prompt_ids, sampling, session=session):
            yield chunk


class ScriptedPlanner(Planner):
    """The planner deployment on a model that needs no engine."""

    def __init__(self) -> None:
        logs.setup(deployment="Planner")
        prompter = Prompter(BYTES, ModelCard(Method.SPRINT, Instruction.NONE))
        llm = TalkingLLM(BYTES, lenient, chunk_tokens=8, context_tokens=CONTEXT_TOKENS)
        super().__init__(llm, prompter, CONTEXT_TOKENS)
