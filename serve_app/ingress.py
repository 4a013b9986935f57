"""The HTTP door: OpenAI's chat completions over a planner.

It knows HTTP and the planner's two methods, nothing of rounds or engines. `api` needs no Ray: any `PlannerClient` will
do; `Ingress` is what `app` makes a Ray Serve deployment of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from serve_app.schema import ChatRequest, Envelope, UnknownModel, error_object, parse_request, status_of
from serve_app.serve_llm import original, unwrapped
from serve_app.sse import DONE, Transcript, sse
from sprint.card import Method
from sprint.errors import LLMError, SprintError
from sprint.events import Event, Finished
from sprint.types import Rollout, StopReason

HEALTH_S = 5.0


class PlannerClient(Protocol):
    """What the door needs of a planner."""

    async def rollout(self, question: str, options: Mapping[str, Any]) -> Rollout: ...

    def events(self, question: str, options: Mapping[str, Any]) -> AsyncGenerator[list[Event], None]: ...

    async def model_health(self) -> None: ...


class RemotePlanner:
    """A `PlannerClient` over a Ray Serve handle."""

    def __init__(self, handle: Any) -> None:
        self._rollout = handle.options(method_name="rollout")
        self._events = handle.options(method_name="events", stream=True)
        self._health = handle.options(method_name="model_health")

    async def rollout(self, question: str, options: Mapping[str, Any]) -> Rollout:
        try:
            rollout: Rollout = await self._rollout.remote(question, options)
        except Exception as error:
            raise original(error) from error
        return rollout

    async def events(self, question: str, options: Mapping[str, Any]) -> AsyncGenerator[list[Event], None]:
        response = self._events.remote(question, options)
        finished = False
        try:
            async for batch in unwrapped(response):
                finished = isinstance(batch[-1], Finished)
                yield batch
        finally:
            if not finished:
                response.cancel()

    async def model_health(self) -> None:
        await self._health.remote()


class Ingress:
    """The door as a deployment."""

    def __init__(self, planner: Any, model_name: str, method: Method) -> None:
        self._planner = RemotePlanner(planner)
        self._served = Served(model_name, method)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve after the constructor."""
        return api(self._planner, self._served)


@dataclass(frozen=True, slots=True)
class Served:
    """The model behind the door."""

    name: str
    method: Method
    created: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As `/v1/models` lists it."""
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "sprint"}


def api(planner: PlannerClient, served: Served) -> FastAPI:
    """The HTTP application."""
    app = FastAPI(title="SPRINT", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(SprintError, _sprint_error)
    app.add_exception_handler(HTTPException, _http_error)

    @app.get("/health")
    async def health() -> Response:
        return await _health(planner)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [served.as_dict()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, served)
        return served.as_dict()

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = parse_request(await request.body())
        _check_model(asked.model, served)
        envelope = Envelope(f"chatcmpl-{uuid4().hex}", int(time.time()), served.name)
        if asked.stream:
            return await _streamed(planner, asked, envelope, served)
        rollout = _unfailed(await planner.rollout(asked.question, asked.engine_values()))
        return JSONResponse(envelope.completion(rollout, served.method, asked.sprint.timeline))

    return app


def _check_model(name: str, served: Served) -> None:
    if name != served.name:
        raise UnknownModel(f"the model {name!r} is not served here, expected {served.name!r}", field="model")


def _unfailed(rollout: Rollout) -> Rollout:
    """The rollout, unless the engine failed under it."""
    if rollout.stop_reason is StopReason.FAILED:
        raise LLMError(f"the engine failed: {rollout.detail or 'no detail was given'}")
    return rollout


async def _health(planner: PlannerClient) -> Response:
    try:
        await asyncio.wait_for(planner.model_health(), HEALTH_S)
    except Exception as error:  # whatever it is, the service is not healthy
        reason = str(error) or f"no model replica answered within {HEALTH_S:.0f} s"
        return JSONResponse(error_object(reason, 503), 503)
    return JSONResponse({"status": "ok"})


# --- streaming -------------------------------------------------------------------------------------------------------


async def _streamed(planner: PlannerClient, asked: ChatRequest, envelope: Envelope, served: Served) -> Response:
    """The answer as server-sent events. What fails before the first event still gets an HTTP status of its own."""
    batches = planner.events(asked.question, asked.engine_values())
    first = await anext(batches)
    transcript = Transcript(asked, envelope, served.method)
    body = _body(first, batches, transcript, sse(envelope.chunk({"role": "assistant", "content": ""})))
    return StreamingResponse(body, media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def _body(
    first: list[Event], batches: AsyncGenerator[list[Event], None], transcript: Transcript, opening: str
) -> AsyncIterator[str]:
    """Closing this generator, as the server does when the client goes away, cancels the rollout."""
    async with aclosing(batches):
        yield opening + _text(first, transcript)
        try:
            async for batch in batches:
                yield _text(batch, transcript)
        except SprintError as error:
            yield sse(error_object(str(error), status_of(error)))
        yield DONE


def _text(events: list[Event], transcript: Transcript) -> str:
    return "".join(sse(chunk) for event in events for chunk in transcript.chunks(event))


# --- errors ----------------------------------------------------------------------------------------------------------


async def _sprint_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SprintError)
    status = status_of(error)
    return JSONResponse(error_object(str(error), status, getattr(error, "field", None)), status)


async def _http_error(request: Request, error: Exception) -> Response:
    """No such path, or the wrong method for it."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(error_object(message, error.status_code), error.status_code)
