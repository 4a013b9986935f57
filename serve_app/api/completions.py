"""`/v1/completions`: prompts continued by the planner's model, whole or as the text comes.

It knows one method of the planner and OpenAI's shapes; rounds have no part in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from serve_app.api.completion_request import (
    Choice,
    CompletionEnvelope,
    CompletionRequest,
    Prompt,
    new_choices,
    openings,
    parse_completion,
    usage_of,
)
from serve_app.api.failures import error_of, status_of
from serve_app.api.http_config import HttpConfig
from serve_app.api.planner_client import PlannerClient
from serve_app.api.served import Served, check_choices
from serve_app.api.streams import ALIVE, DONE, EventStream, merged, sse, together
from serve_app.api.visits import Visit
from sprint.errors import LLMError
from sprint.llm import Chunk

Ids = Sequence[int]

_log = logging.getLogger(__name__)


class Completions:
    """Continues prompts."""

    def __init__(self, planner: PlannerClient, served: Served, http: HttpConfig) -> None:
        self._planner = planner
        self._served = served
        self._http = http

    def parse(self, body: bytes) -> CompletionRequest:
        """The request in a body. Raises InputError."""
        asked = parse_completion(body)
        self._served.check(asked.model)
        check_choices(asked.num_choices, self._http.max_choices)
        return asked

    async def answer(self, asked: CompletionRequest, visit: Visit) -> Response:
        """The answer, or the beginning of one that is streamed. Raises SprintError."""
        envelope = CompletionEnvelope(f"cmpl-{uuid4().hex}", int(time.time()), self._served.name)
        choices = new_choices(asked)
        prompts = await together([self._ids(prompt) for prompt in asked.prompt])  # what is too long is refused here
        if asked.stream:
            return await EventStream.begun(self._texts(asked, choices, envelope, prompts, visit))
        for index, prompt in openings(asked):
            choices[index].text = prompt
        await together([self._collect(asked, choice, prompts, visit) for choice in choices])
        visit.usage = usage_of(choices, prompts)
        return JSONResponse(envelope.completion(choices, visit.usage))

    async def _ids(self, prompt: Prompt) -> Ids:
        return await self._planner.encode(prompt) if isinstance(prompt, str) else prompt

    def _source(
        self, asked: CompletionRequest, index: int, prompts: Sequence[Ids], visit: Visit
    ) -> AsyncGenerator[list[Chunk], None]:
        values = asked.sampling_values(index % asked.n)
        return self._planner.complete(prompts[index // asked.n], values, visit.session(index))

    async def _collect(self, asked: CompletionRequest, choice: Choice, prompts: Sequence[Ids], visit: Visit) -> None:
        async with aclosing(self._source(asked, choice.index, prompts, visit)) as source:
            async for chunks in source:
                choice.take(chunks)
        if choice.finish is None:
            raise LLMError("the engine ended a text without saying why")

    async def _texts(
        self,
        asked: CompletionRequest,
        choices: list[Choice],
        envelope: CompletionEnvelope,
        prompts: Sequence[Ids],
        visit: Visit,
    ) -> AsyncGenerator[str, None]:
        """The answer as server-sent events. Raises only before the first of them; later errors are events."""
        sources = [self._source(asked, choice.index, prompts, visit) for choice in choices]
        echoes = openings(asked)
        async with aclosing(merged(sources, self._http.keep_alive_s)) as pieces:
            try:
                async for piece in pieces:
                    for index, prompt in echoes:  # before the first piece, one by one: together they may be long
                        yield sse(envelope.chunk(index, prompt, None))
                    yield _told(piece[1], choices[piece[0]], envelope) if piece else ALIVE
                visit.usage = usage_of(choices, prompts)
                if asked.wants_usage:
                    yield sse(envelope.usage_chunk(visit.usage))
            except Exception as error:
                if not visit.status:  # nothing is out yet, so it gets a status of its own
                    raise
                _log.exception("a stream broke off")
                visit.broke_off = status_of(error)
                yield sse(error_of(error))
            yield DONE


def _told(chunks: list[Chunk], choice: Choice, envelope: CompletionEnvelope) -> str:
    """What a client hears of some chunks; nothing while they may be the beginning of a stop string."""
    text = choice.take(chunks)
    return sse(envelope.chunk(choice.index, text, choice.finish)) if text or choice.finish else ""
