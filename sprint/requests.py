"""What an annotator asks a language model, what comes back, and what it cost.

Plain records that cross the door between the conversation (`sprint.dialogue`) and whatever carries it: HTTP, an engine
on this cluster, or a record of earlier replies. It knows no wire format and no prices but those it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sprint.errors import SprintError


class Role(StrEnum):
    """Who says a message, in the words of chat APIs."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Purpose(StrEnum):
    """What a request is for. Each of the two questions about a trace may be repaired once."""

    STEPS = "steps"
    STEPS_REPAIR = "steps_repair"
    PARENTS = "parents"
    PARENTS_REPAIR = "parents_repair"

    @property
    def is_repair(self) -> bool:
        return self in (Purpose.STEPS_REPAIR, Purpose.PARENTS_REPAIR)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        return {"role": str(self.role), "content": self.content}


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model. `schema` is a JSON schema for endpoints that can hold a reply to one, else None."""

    purpose: Purpose
    messages: tuple[Message, ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """Names the request by what the model reads: the same question has the same key in every run."""
        parts = (f"{message.role}\0{message.content}" for message in self.messages)
        return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class AnnotationUsage:
    """What annotating cost. Adds up; `cached_tokens` is None as soon as one call did not report it, never 0 instead.

    num_calls      requests that were answered
    num_repairs    of them, requests that told the model what was wrong
    num_failures   attempts that failed (and were made again, where that helps)
    prompt_tokens, cached_tokens, output_tokens   as the endpoint reports them; cached ones are among the prompt's
    seconds        from the first byte asked to the last answered, summed over calls
    """

    num_calls: int = 0
    num_repairs: int = 0
    num_failures: int = 0
    prompt_tokens: int = 0
    cached_tokens: int | None = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: AnnotationUsage) -> AnnotationUsage:
        known = self.cached_tokens is not None and other.cached_tokens is not None
        return AnnotationUsage(
            self.num_calls + other.num_calls,
            self.num_repairs + other.num_repairs,
            self.num_failures + other.num_failures,
            self.prompt_tokens + other.prompt_tokens,
            (self.cached_tokens or 0) + (other.cached_tokens or 0) if known else None,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered. `truncated`: it was cut off at the request's `max_tokens`."""

    text: str
    truncated: bool = False
    usage: AnnotationUsage = AnnotationUsage(num_calls=1, cached_tokens=None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its reply, as they are kept beside the row, so that they can be replayed (annotator `recorded`)."""

    key: str
    purpose: Purpose
    text: str
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in dollars (or any one currency) for a million tokens. `cached` None: as `prompt`."""

    prompt: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def cost(self, usage: AnnotationUsage) -> float:
        """What the calls cost; tokens not known to come from a cache are charged in full."""
        cached = usage.cached_tokens or 0
        cached_price = self.prompt if self.cached is None else self.cached
        spent = (usage.prompt_tokens - cached) * self.prompt + cached * cached_price + usage.output_tokens * self.output
        return spent / 1e6


class RequestFailed(SprintError):
    """The model could not be asked: every attempt failed. `usage` holds what the attempts cost."""

    def __init__(self, message: str, usage: AnnotationUsage = AnnotationUsage()) -> None:
        super().__init__(message)
        self.usage = usage
