"""What clients say and hear: the request, checked field by field, and the answer in OpenAI's shapes.

Pure data: it knows neither HTTP servers nor Ray. Every mistake becomes an InputError that names the parameter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from sprint.card import Method
from sprint.config import StrictModel, validate
from sprint.errors import ContextOverflow, InputError, LLMTimeout, LLMUnavailable, SprintError
from sprint.types import Rollout, StopReason

# Parameters of the OpenAI API that change nothing about an answer here, so that every client's defaults are welcome.
IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "verbosity"}
# Parameters that would change it: welcome only with the value that changes nothing.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "stop": (None, "", []),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "logit_bias": (None, {}),
}
FINISH = {StopReason.ANSWERED: "stop", StopReason.ENDED: "stop"}  # every other reason is a limit: "length"


class SprintOptions(StrictModel):
    """The request's `sprint` object: `sprint.options.EngineOptions`. What is not given, its defaults say.

    events    with stream: send every event of the rollout beside the text
    timeline  report when each call began and ended
    """

    mode: Literal["auto", "parallel", "sequential"] | None = None
    dispatch: Literal["pipelined", "barrier"] | None = None
    max_rounds: int | None = Field(default=None, ge=1, le=100)
    max_prompts: int | None = Field(default=None, ge=1, le=256)
    max_plan_tokens: int | None = Field(default=None, ge=1)
    max_execution_tokens: int | None = Field(default=None, ge=1)
    max_concurrency: int | None = Field(default=None, ge=1, le=256)
    execution_timeout_s: float | None = Field(default=None, gt=0)
    time_limit_s: float | None = Field(default=None, gt=0)
    quorum: float | None = Field(default=None, gt=0, le=1)
    hedge_after_s: float | None = Field(default=None, gt=0)
    view: Literal["prefix", "whole_plan"] | None = None
    gate: Literal["none", "first_plan"] | None = None
    attempts: int | None = Field(default=None, ge=1, le=8)
    plan_gate_tokens: int | None = Field(default=None, ge=1)
    execution_gate_tokens: int | None = Field(default=None, ge=1)
    rollouts: int | None = Field(default=None, ge=1, le=8)
    count_as_published: bool | None = None
    events: bool = False
    timeline: bool = False


class StreamOptions(StrictModel):
    """OpenAI's `stream_options`."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(StrictModel):
    """A request to `/v1/chat/completions`, less the parameters that change nothing."""

    model: str = Field(min_length=1)
    messages: list[Any]
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    sprint: SprintOptions = SprintOptions()

    @field_validator("stream", "sprint", mode="before")
    @classmethod
    def _none_is_default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def question(self) -> str:
        """The one question the messages ask."""
        return question_of(self.messages)

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed answer ends with the counts in a chunk of their own, as OpenAI's does when asked."""
        return self.stream_options is not None and self.stream_options.include_usage

    def engine_values(self) -> dict[str, Any]:
        """What the request sets of the engine's options; nothing that it leaves open."""
        values = self.sprint.model_dump(exclude={"events", "timeline"})
        values |= {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        values["max_tokens"] = self.max_completion_tokens or self.max_tokens
        return {key: value for key, value in values.items() if value is not None}


def parse_request(body: bytes) -> ChatRequest:
    """A request from its body. Raises InputError with one sentence about the first mistake."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"the request body is a JSON {type(values).__name__}, expected an object")
    _check_neutral(values)
    kept = {key: value for key, value in values.items() if key not in IGNORED and key not in NEUTRAL}
    request = validate(ChatRequest, kept, "request")
    if not request.question.strip():
        raise InputError("the last user message is empty, expected a question", field="messages")
    return request


def _check_neutral(values: Mapping[str, Any]) -> None:
    for key, allowed in NEUTRAL.items():
        if key in values and values[key] not in allowed:
            raise InputError(f"{key!r} is {values[key]!r}: this server only supports {allowed[1]!r}", field=key)


def question_of(messages: list[Any]) -> str:
    """One user message, with the system message, where there is one, before it.

    Raises InputError for anything else: the models answer one question and were never taught a dialogue.
    """
    texts: dict[str, list[str]] = {"system": [], "user": []}
    for index, message in enumerate(messages):
        role, text = _message(message, f"messages[{index}]")
        texts[role].append(text)
    if len(texts["user"]) != 1 or len(texts["system"]) > 1:
        raise InputError(
            f"'messages' holds {len(texts['user'])} user and {len(texts['system'])} system messages,"
            " expected one user message and at most one system message",
            field="messages",
        )
    return "\n\n".join(texts["system"] + texts["user"])


def _message(message: Any, where: str) -> tuple[str, str]:
    """The role (system or user) and text of one message."""
    if not isinstance(message, dict):
        raise InputError(f"{where} is {message!r}, expected an object with role and content", field=where)
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ("system", "user"):
        raise InputError(f"{where}.role is {role!r}, expected 'system' or 'user'", field=f"{where}.role")
    return role, _content(message.get("content"), f"{where}.content")


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InputError(f"{where} is {content!r}, expected text", field=where)
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where} holds a part that is not text, expected parts of type 'text' only", field=where)
    return "".join(text for text in texts if text)


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every object of one answer carries."""

    id: str
    created: int
    model: str

    def completion(self, rollout: Rollout, method: Method, timeline: bool) -> dict[str, Any]:
        """The whole answer in one object."""
        message = {"role": "assistant", "content": rollout.answer_text, "reasoning_content": rollout.text}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason(rollout), "logprobs": None}
        totals = {"usage": openai_usage(rollout), "sprint": sprint_object(rollout, method, timeline)}
        return self._object("chat.completion") | {"choices": [choice]} | totals

    def chunk(self, delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
        """A piece of a streamed answer."""
        choice = {"index": 0, "delta": dict(delta), "finish_reason": finish, "logprobs": None}
        return self._object("chat.completion.chunk") | {"choices": [choice]}

    def event_chunk(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event of the rollout; clients that do not know it find no choices and pass on."""
        return self._object("chat.completion.chunk") | {"choices": [], "sprint_event": dict(event)}

    def usage_chunk(self, rollout: Rollout) -> dict[str, Any]:
        return self._object("chat.completion.chunk") | {"choices": [], "usage": openai_usage(rollout)}

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(rollout: Rollout) -> str:
    """The stop reason in OpenAI's words."""
    return FINISH.get(rollout.stop_reason, "length")


def openai_usage(rollout: Rollout) -> dict[str, Any]:
    """The counts in OpenAI's words: tokens over all calls of the rollout."""
    usage = rollout.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }


def sprint_object(rollout: Rollout, method: Method, timeline: bool) -> dict[str, Any]:
    """The `sprint` object of an answer."""
    values: dict[str, Any] = {
        "usage": rollout.usage.as_dict(),
        "stop_reason": rollout.stop_reason,
        "method": method,
    }
    if rollout.detail:
        values["detail"] = rollout.detail
    if timeline:
        values["timeline"] = [asdict(span) for span in rollout.timeline]
    return values


# --- errors ----------------------------------------------------------------------------------------------------------


class UnknownModel(InputError):
    """The request names a model that is not served here."""


def status_of(error: SprintError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, UnknownModel):
        return 404
    if isinstance(error, InputError | ContextOverflow):
        return 400
    if isinstance(error, LLMTimeout):
        return 504
    return 503 if isinstance(error, LLMUnavailable) else 500


def error_object(message: str, status: int, field: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = {404: "model_not_found", 503: "unavailable", 504: "timeout"}.get(status)
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}
