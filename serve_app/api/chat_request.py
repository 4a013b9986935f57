"""What a client of `/v1/chat/completions` says: the request, checked field by field. Pure data."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from serve_app.api import messages
from serve_app.api.parameters import IGNORED, NEUTRAL, Neutral, SamplingRequest, parsed
from sprint.config import StrictModel

MANY_CALLS = "an answer is sampled in many calls, which report no probabilities"
NO_TOOLS = "the models were never taught to call tools"
TEXT_ONLY = "the models write text"
CHAT_IGNORED = (*IGNORED, "verbosity")
CHAT_NEUTRAL: dict[str, Neutral] = NEUTRAL | {
    "logprobs": Neutral((False, None), MANY_CALLS),
    "top_logprobs": Neutral((0, None), MANY_CALLS),
    "tools": Neutral(([], None), NO_TOOLS),
    "tool_choice": Neutral(("none", None, "auto"), NO_TOOLS),
    "parallel_tool_calls": Neutral((True, None, False), NO_TOOLS),
    "functions": Neutral(([], None), NO_TOOLS),
    "response_format": Neutral(({"type": "text"}, None), "answers are not held to a grammar"),
    "modalities": Neutral((["text"], None), TEXT_ONLY),
    "audio": Neutral((None,), TEXT_ONLY),
    "prediction": Neutral((None,), TEXT_ONLY),
    "web_search_options": Neutral((None,), "the models read nothing but the question"),
    "reasoning_effort": Neutral(
        ("medium", None), "how much is thought is set by 'sprint.mode', 'sprint.max_rounds' and the token limits"
    ),
}


class SprintOptions(StrictModel):
    """The request's `sprint` object: the options of the engine. What is not given, its defaults say."""

    mode: Literal["auto", "parallel", "sequential"] | None = Field(
        default=None, description="whether the question is answered in rounds"
    )
    dispatch: Literal["pipelined", "barrier"] | None = Field(
        default=None, description="whether executors start while the planner still writes"
    )
    max_rounds: int | None = Field(default=None, ge=1, le=100)
    max_prompts: int | None = Field(default=None, ge=1, le=256, description="prompts of one round that are executed")
    max_plan_tokens: int | None = Field(default=None, ge=1, le=2**31)
    max_execution_tokens: int | None = Field(default=None, ge=1, le=2**31)
    max_concurrency: int | None = Field(default=None, ge=1, le=256, description="executions that run at once")
    execution_timeout_s: float | None = Field(default=None, gt=0, le=1e6)
    time_limit_s: float | None = Field(default=None, gt=0, le=1e6)
    quorum: float | None = Field(
        default=None, gt=0, le=1, description="share of a round's executions that is enough to go on"
    )
    hedge_after_s: float | None = Field(default=None, gt=0, le=1e6, description="asks a slow execution's model again")
    view: Literal["prefix", "whole_plan"] | None = Field(default=None, description="what an executor sees")
    gate: Literal["none", "first_plan"] | None = Field(default=None, description="when mode `auto` leaves the rounds")
    carry_on: bool | None = Field(default=None, description="a plan's only prompt is executed by the planner itself")
    attempts: int | None = Field(default=None, ge=1, le=8)
    plan_gate_tokens: int | None = Field(default=None, ge=1, le=2**31)
    execution_gate_tokens: int | None = Field(default=None, ge=1, le=2**31)
    repetition_tokens: int | None = Field(
        default=None, ge=1, le=2**31, description="a call that repeats itself for so many tokens is ended"
    )
    rollouts: int | None = Field(default=None, ge=1, le=8, description="tries at a boxed answer")
    count_as_published: bool | None = None
    events: bool = Field(default=False, description="with `stream`: send every event of the rollout beside the text")
    timeline: bool = Field(default=False, description="report when each call began and ended")


class ChatRequest(SamplingRequest):
    """A request to `/v1/chat/completions`.

    `stop` cuts the answer (`content`) at the first place where one of its strings begins, and the finish reason is then
    `stop`; the reasoning is never cut.
    """

    messages: Annotated[list[Any], WithJsonSchema(messages.SCHEMA)]
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=2**31, description="sampled in the whole rollout")
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31, description="the same; counts if both are")
    sprint: SprintOptions = SprintOptions()

    @property
    def question(self) -> str:
        """The one question the messages ask."""
        return messages.question_of(self.messages)

    def engine_values(self, index: int = 0) -> dict[str, Any]:
        """What the request sets of the engine's options for answer `index`; nothing that it leaves open."""
        values = self.sprint.model_dump(exclude={"events", "timeline"})
        values |= {"temperature": self.temperature, "top_p": self.top_p, "seed": seed_of(self.seed, index)}
        values["max_tokens"] = self.max_completion_tokens or self.max_tokens
        return {key: value for key, value in values.items() if value is not None}


def parse_request(body: bytes) -> ChatRequest:
    """A request from its body. Raises InputError with one sentence about the first mistake."""
    request = parsed(body, ChatRequest, CHAT_IGNORED, CHAT_NEUTRAL)
    _ = request.question  # raises
    return request


def seed_of(seed: int | None, index: int) -> int | None:
    """The seed of answer `index`: the first has the request's own, so that it is the one that n = 1 would give."""
    if seed is None or index == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # fits the engine's signed seeds
