"""The shapes of all answers, for the OpenAPI document and for the tests that hold answers to it. Nothing is built here.

What is made stands in `answers` and `completions`; a field that is added there has to be told here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve_app.pools.readiness import ReadinessState
from sprint.card import Method
from sprint.types import StopReason, TimelineSpan
from sprint.usage import Usage


class Shape(BaseModel):
    """An object without other fields than these."""

    model_config = ConfigDict(extra="forbid")


class PromptTokensDetails(Shape):
    """Of the prompt's tokens."""

    cached_tokens: int | None = Field(description="served from the prefix cache; null where the engine does not say")


class UsageCounts(Shape):
    """OpenAI's counts: tokens over all calls of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class SprintObject(Shape):
    """How a rollout went."""

    usage: Usage
    stop_reason: StopReason
    method: Method
    detail: str = Field(default="", description="what went wrong, where something did")
    timeline: list[TimelineSpan] = Field(default=[], description="when each call began and ended, if it was asked for")


class SprintChoices(Shape):
    """How several rollouts went: the sum, and each."""

    usage: Usage
    method: Method
    choices: list[SprintObject]


class Message(Shape):
    """The answer, and the trajectory that led to it."""

    role: Literal["assistant"]
    content: str
    reasoning_content: str


class ChatChoice(Shape):
    """One answer."""

    index: int
    message: Message
    finish_reason: Literal["stop", "length"]
    logprobs: None


class ChatCompletion(Shape):
    """An answer in one object."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageCounts
    sprint: SprintObject | SprintChoices


class Delta(Shape):
    """A piece of an answer."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    reasoning_content: str = ""


class ChunkChoice(Shape):
    """A piece of one answer."""

    index: int
    delta: Delta
    finish_reason: Literal["stop", "length"] | None
    logprobs: None


class SprintEvent(BaseModel):
    """An event of a rollout, as `sprint.events` defines it; `kind` says which, and so what else it holds."""

    model_config = ConfigDict(extra="allow")

    choice: int
    kind: Literal[
        "delta",
        "discarded",
        "execution_finished",
        "execution_started",
        "finished",
        "plan_ended",
        "round_joined",
        "round_started",
    ]


class ChatCompletionChunk(Shape):
    """One event of a streamed answer: pieces of choices, an event of a rollout, or the counts."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageCounts | None = None
    sprint: SprintObject | None = None
    sprint_event: SprintEvent | None = None


class CompletionChoice(Shape):
    """One continuation, or a piece of it; the finish reason is null until it is over."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: None


class Completion(Shape):
    """Continuations in one object, or, streamed, a piece of one or the counts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageCounts | None = None


class Model(Shape):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Shape):
    """All models that are served."""

    object: Literal["list"]
    data: list[Model]


class ErrorDetail(Shape):
    """What is wrong, in one sentence."""

    message: str
    type: str
    param: str | None = Field(description="the parameter at fault, where it is one")
    code: str | None


class Error(Shape):
    """OpenAI's error object. In a stream that breaks off, `sprint` says what the rollout had cost."""

    error: ErrorDetail
    sprint: SprintObject | None = None


class Health(Shape):
    """The process lives."""

    status: Literal["ok"]


class Pool(Shape):
    """One pool of engines."""

    name: str
    state: ReadinessState
    reason: str
    replicas: int
    wanted: int


class ReadyAnswer(Shape):
    """Whether a model answers, and if not, why; with status 503 there is an error object too."""

    status: ReadinessState
    reason: str
    pools: list[Pool]
    error: ErrorDetail | None = None


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """The JSON schemas of these models and of what they hold, by name, as OpenAPI's components."""
    from pydantic.json_schema import models_json_schema

    _, top = models_json_schema([(model, "validation") for model in models], ref_template=REF + "{model}")
    found: dict[str, Any] = top["$defs"]
    return found


REF = "#/components/schemas/"
