"""What the API says about itself: the OpenAPI document, made from the models that requests are checked against.

Bodies are read by our own code (one sentence for every mistake), so FastAPI does not know them: they are told here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from serve_app.api import answer_models as shapes
from serve_app.api.answer_models import REF
from serve_app.api.chat_request import CHAT_IGNORED, CHAT_NEUTRAL, ChatRequest
from serve_app.api.completion_request import COMPLETION_NEUTRAL, CompletionRequest
from serve_app.api.parameters import IGNORED, Neutral
from sprint import __version__

DESCRIPTION = (
    "OpenAI's API over a planner that answers in rounds. The final answer is `content`, the trajectory that led to it"
    " `reasoning_content`; `usage` holds OpenAI's counts and `sprint` the project's own. Every answer carries back the"
    " header `x-request-id`, or makes one."
)
ERRORS = {
    "400": "the request cannot be served; `param` names what is wrong",
    "401": "no key, or one that is not known",
    "403": "a page of another origin asks, which is not in cors_origins",
    "404": "no such model",
    "408": "the body did not arrive in time",
    "413": "the body is too long",
    "500": "the engine failed",
    "502": "the server that stands in a pool's place failed",
    "503": "overloaded or not available; try again after `retry-after` seconds",
    "504": "the engine did not answer in time",
}
ANSWERS: dict[tuple[str, str], type[BaseModel]] = {
    ("/v1/chat/completions", "post"): shapes.ChatCompletion,
    ("/v1/completions", "post"): shapes.Completion,
    ("/v1/models", "get"): shapes.ModelList,
    ("/v1/models/{name}", "get"): shapes.Model,
    ("/health", "get"): shapes.Health,
    ("/ready", "get"): shapes.ReadyAnswer,
}
CHUNKS = {"/v1/chat/completions": "ChatCompletionChunk", "/v1/completions": "Completion"}


def describe(app: FastAPI) -> None:
    """Makes `app.openapi()` the whole truth. It is computed when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title="SPRINT", version=__version__, description=DESCRIPTION, routes=app.routes)
    paths = {path.replace(":path}", "}"): operations for path, operations in found["paths"].items()}
    for (path, verb), shape in ANSWERS.items():
        _tell(paths[path][verb], path, verb, shape)
    paths["/metrics"]["get"]["responses"] = {"200": _response("Prometheus' text format", "text/plain", _TEXT)}
    parts = {"schemas": _schemas(), "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
    return found | {"paths": paths, "components": parts}


_TEXT = {"type": "string"}


def _tell(operation: dict[str, Any], path: str, verb: str, shape: type[BaseModel]) -> None:
    answer = _response("the answer", "application/json", _ref(shape.__name__))
    operation["responses"] = {"200": answer}
    if path == "/ready":
        operation["responses"]["503"] = _response("not ready", "application/json", _ref(shape.__name__))
    if path.startswith("/v1/"):
        operation["security"] = [{}, {"key": []}]
        statuses = ERRORS if verb == "post" else {"401": ERRORS["401"], "404": ERRORS["404"]}
        operation["responses"] |= {
            status: _response(why, "application/json", _ref("Error")) for status, why in statuses.items()
        }
    if path in CHUNKS:
        told = f"server-sent events; each `data:` holds a {CHUNKS[path]} or an Error, and the last one is `[DONE]`"
        answer["content"]["text/event-stream"] = {
            "schema": _TEXT | {"description": told, "x-event": _ref(CHUNKS[path])}
        }
        name = "ChatRequest" if "chat" in path else "CompletionRequest"
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _response(description: str, media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": dict(schema)}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REF + name}


def _schemas() -> dict[str, Any]:
    found = shapes.schemas(ChatRequest, CompletionRequest, shapes.ChatCompletionChunk, shapes.Error, *ANSWERS.values())
    _add_others(found["ChatRequest"], CHAT_IGNORED, CHAT_NEUTRAL)
    _add_others(found["CompletionRequest"], IGNORED, COMPLETION_NEUTRAL)
    return found


def _add_others(schema: dict[str, Any], ignored: Collection[str], neutral: Mapping[str, Neutral]) -> None:
    """The parameters that are no fields of the model: taken and ignored, or taken with a neutral value only."""
    for name in ignored:
        schema["properties"][name] = {"description": "taken, and changes nothing"}
    for name, rule in neutral.items():
        only = f"only with a value that changes nothing: {rule.because}"
        schema["properties"][name] = {"enum": list(rule.allowed), "description": only}
