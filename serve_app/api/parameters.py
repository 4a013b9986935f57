"""What the endpoints' requests have in common: a JSON object, checked field by field.

A parameter is either a field of the request's model, or ignored since it changes nothing about an answer, or welcome
only with a value that changes nothing. Everything else is a mistake. Every mistake becomes an InputError that names the
parameter. Pure data: no server, no planner.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator
from pydantic.config import JsonDict

from sprint.config import StrictModel, validate
from sprint.errors import InputError

MOST_CHOICES = 128
MOST_STOPS = 32
LONGEST_STOP = 256  # characters

IGNORED = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)


@dataclass(frozen=True, slots=True)
class Neutral:
    """The values of a parameter that change nothing, the usual one first, and why no other is supported."""

    allowed: tuple[Any, ...]
    because: str


PENALTIES = "tokens are sampled without penalties"
NEUTRAL: dict[str, Neutral] = {
    "frequency_penalty": Neutral((0, None), PENALTIES),
    "presence_penalty": Neutral((0, None), PENALTIES),
    "logit_bias": Neutral(({}, None), PENALTIES),
}

_STOP_SCHEMA: JsonDict = {
    "anyOf": [
        {"type": "string", "maxLength": LONGEST_STOP},
        {"type": "array", "items": {"type": "string", "maxLength": LONGEST_STOP}, "maxItems": MOST_STOPS},
        {"type": "null"},
    ],
    "default": None,
}


class StreamOptions(StrictModel):
    """OpenAI's `stream_options`."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = Field(default=False, description="end the stream with a chunk that holds the counts")


class SamplingRequest(StrictModel):
    """What all requests may say."""

    model: str = Field(min_length=1, description="the model's name, as `/v1/models` lists it")
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="makes sampling reproducible; answer k of n gets its own"
    )
    n: int = Field(default=1, ge=1, le=MOST_CHOICES, description="answers, each sampled independently")
    stream: bool = Field(default=False, description="answer as server-sent events, the last of them `[DONE]`")
    stream_options: StreamOptions | None = None
    stop: Annotated[tuple[str, ...], WithJsonSchema(_STOP_SCHEMA)] = Field(default=())

    @field_validator("*", mode="before")
    @classmethod
    def _none_is_default(cls, value: Any, info: Any) -> Any:
        """Many clients send null for what they leave open."""
        default = cls.model_fields[info.field_name].get_default(call_default_factory=True)
        is_open = value is None and not cls.model_fields[info.field_name].is_required()
        return default if is_open else value

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, value: Any) -> Any:
        """One string or several; empty ones stop nothing."""
        stops = (value,) if isinstance(value, str) else () if value is None else value
        if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
            raise ValueError("expected a string or a list of strings")
        if len(stops) > MOST_STOPS or any(len(stop) > LONGEST_STOP for stop in stops):
            raise ValueError(f"expected at most {MOST_STOPS} strings of at most {LONGEST_STOP} characters")
        return tuple(stop for stop in stops if stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed answer ends with the counts in a chunk of their own, as OpenAI's does when asked."""
        return self.stream_options is not None and self.stream_options.include_usage


Request = TypeVar("Request", bound=SamplingRequest)


def parsed(body: bytes, model: type[Request], ignored: Collection[str], neutral: Mapping[str, Neutral]) -> Request:
    """A request from its body. Raises InputError with one sentence about the first mistake."""
    values = read_object(body)
    for key, rule in neutral.items():
        if key in values and not any(_same(values[key], allowed) for allowed in rule.allowed):
            expected = json.dumps(rule.allowed[0])
            raise InputError(f"{key!r} is {values[key]!r}, expected {expected}: {rule.because}", field=key)
    kept = {key: value for key, value in values.items() if key not in ignored and key not in neutral}
    return validate(model, kept, "request")


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, all of it text that can be written. Raises InputError."""
    try:
        values = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
        if b"\\ud" in body.lower():  # only escapes can hold half of a surrogate pair
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError("the request body holds half of a surrogate pair, which is not text") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"the request body is a JSON {type(values).__name__}, expected an object")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _same(value: Any, allowed: Any) -> bool:
    """Equal as JSON has it, where true is no number."""
    return isinstance(value, bool) == isinstance(allowed, bool) and bool(value == allowed)
