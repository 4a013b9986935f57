"""`/v1/chat/completions`: one question, one or several rollouts, whole or as they happen.

It knows the planner's two methods and OpenAI's shapes, nothing of rounds, engines or servers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from serve_app.api.answers import Envelope
from serve_app.api.chat_request import ChatRequest, parse_request
from serve_app.api.failures import error_of, failure_of, status_of
from serve_app.api.http_config import HttpConfig
from serve_app.api.planner_client import PlannerClient
from serve_app.api.served import Served, check_choices
from serve_app.api.sse import Told, Transcript
from serve_app.api.streams import ALIVE, DONE, EventStream, merged, sse, together
from serve_app.api.visits import Visit
from sprint.events import Event, Finished, RoundStarted
from sprint.types import Rollout

Piece = tuple[int, list[Event]] | None
"""Events of a choice, or None where there was silence."""

_log = logging.getLogger(__name__)


class Chat:
    """Answers questions."""

    def __init__(self, planner: PlannerClient, served: Served, http: HttpConfig) -> None:
        self._planner = planner
        self._served = served
        self._http = http

    def parse(self, body: bytes) -> ChatRequest:
        """The request in a body. Raises InputError."""
        asked = parse_request(body)
        self._served.check(asked.model)
        check_choices(asked.n, self._http.max_choices)
        return asked

    async def answer(self, asked: ChatRequest, visit: Visit) -> Response:
        """The answer, or the beginning of one that is streamed. Raises SprintError."""
        envelope = Envelope(
            f"chatcmpl-{uuid4().hex}",
            int(time.time()),
            self._served.name,
            self._served.method,
            asked.stop,
            asked.sprint.timeline,
        )
        if asked.stream:
            return await EventStream.begun(self._texts(asked, Told(asked, envelope, visit.rollouts), visit))
        question = asked.question
        work = [self._rollout(question, asked, visit, index) for index in range(asked.n)]
        return JSONResponse(envelope.completion(await together(work)))

    async def _rollout(self, question: str, asked: ChatRequest, visit: Visit, index: int) -> Rollout:
        rollout = await self._planner.rollout(question, asked.engine_values(index), visit.session(index))
        visit.rollouts.append(rollout)
        failure = failure_of(rollout)
        if failure is not None:
            raise failure
        return rollout

    # --- streaming ---------------------------------------------------------------------------------------------------

    async def _texts(self, asked: ChatRequest, told: Told, visit: Visit) -> AsyncGenerator[str, None]:
        """The answer as server-sent events. Raises only before the first of them; later errors are events."""
        transcripts = [Transcript(told, index) for index in range(asked.n)]
        question = asked.question
        sources = [
            self._planner.events(question, asked.engine_values(index), visit.session(index)) for index in range(asked.n)
        ]
        async with aclosing(merged(sources, self._http.keep_alive_s)) as pieces:
            first = await _until_spoken(pieces)
            said = [transcript.opening() for transcript in transcripts]
            said += [chunk for piece in first for chunk in _chunks(piece, transcripts)]
            yield "".join(map(sse, said))
            try:
                while not _failed(said):
                    piece = await anext(pieces, _END)
                    if piece is _END:
                        break
                    said = list(_chunks(piece, transcripts))
                    yield "".join(map(sse, said)) if piece else ALIVE
            except Exception as error:  # the status is out, so the client is told in the stream
                _log.exception("a stream broke off")
                visit.broke_off = status_of(error)
                said = [error_of(error)]
                yield sse(said[0])
            closing = () if _failed(said) else told.usage_chunk()
            yield "".join(map(sse, closing)) + DONE


_END: Any = object()


async def _until_spoken(pieces: AsyncGenerator[Piece, None]) -> list[Piece]:
    """What comes until something is said or a while is over. Raises the failure of an engine that said nothing."""
    held: list[Piece] = []
    async for piece in pieces:
        held.append(piece)
        events = [event for each in held if each for event in each[1] if not isinstance(event, RoundStarted)]
        if len(events) == 1 and isinstance(events[0], Finished):
            failure = failure_of(events[0].rollout)
            if failure is not None:
                raise failure
        if events or piece is None:
            break
    return held


def _chunks(piece: Piece, transcripts: Sequence[Transcript]) -> Iterator[dict[str, Any]]:
    index, events = piece or (0, [])
    for event in events:
        yield from transcripts[index].chunks(event)


def _failed(chunks: Sequence[dict[str, Any]]) -> bool:
    """Whether a choice of the answer has failed, and with it the answer."""
    return any("error" in chunk for chunk in chunks)
