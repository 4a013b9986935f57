"""The wire format of chat endpoints: bodies out; replies, refusals and their kinds back in.

It knows the JSON of OpenAI's chat completions and how other servers stray from it. It sends nothing, waits for nothing.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pipelines.endpoint.config import EndpointConfig, Structured
from sprint.requests import AnnotationUsage, Reply, Request
from sprint.rows import writable

CHARS_PER_TOKEN = 3  # of mathematical English; only a first guess for the rate limit, corrected by every reply
SCHEMA_WORDS = ("response_format", "response format", "json", "schema", "structured", "guided", "grammar")
OVERFLOW_WORDS = ("context length", "context_length", "context window", "too long", "max_model_len")
NO_QUOTA = ("insufficient_quota", "exceeded your current quota", "billing_hard_limit")
LONGEST_WAIT_S = 600.0  # an endpoint that asks for a longer pause has refused
MOST_BODY_BYTES = 8 << 20  # a hundred times the longest reply that was ever asked for
MOST_TOKENS = 2**31  # what reports more cannot count

ONE_FAILURE = AnnotationUsage(num_failures=1)


class Failure(StrEnum):
    """How an attempt failed. Only REFUSED, SPENT and UNSUPPORTED are not simply tried again."""

    RATE_LIMITED = "rate_limited"  # 429
    SERVER_ERROR = "server_error"  # 5xx, 409
    TIMEOUT = "timeout"  # no whole reply in time, or 408
    CONNECTION = "connection"  # could not connect, or cut off before the reply was whole
    BAD_BODY = "bad_body"  # answered 200 with no JSON, no choices or no content
    SPENT = "spent"  # the token limit was reached before the first word of the reply: a thought took it all
    UNSUPPORTED = "unsupported"  # the endpoint does not know a field of the body; asked again without it
    REFUSED = "refused"  # another 4xx, or a quota used up: the same request would fail again


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that brought no reply. `message` follows the endpoint's name in a sentence."""

    kind: Failure
    message: str
    again: bool = True  # worth another attempt
    hopeless: bool = False  # no request would succeed: wrong key, unknown model, quota used up
    status: int | None = None
    wait_s: float | None = None  # the endpoint asks for this pause
    usage: AnnotationUsage = ONE_FAILURE


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which fields the endpoint understands, as far as its complaints have taught us."""

    structured: Structured
    may_yield: bool = False  # fall back to a weaker `structured`
    limit: str = "max_tokens"
    temperature: bool = True

    @classmethod
    def of(cls, structured: Structured) -> Dialect:
        """What is tried first."""
        return cls(Structured.JSON_SCHEMA, True) if structured is Structured.AUTO else cls(structured)

    def body(self, config: EndpointConfig, request: Request) -> dict[str, Any]:
        """The body, but for `model` and `messages`. An `extra` of null takes its field out."""
        body: dict[str, Any] = {self.limit: request.max_tokens, "seed": config.seed}
        if self.temperature:
            body["temperature"] = config.temperature
        if request.schema is not None:
            body["response_format"] = self._response_format(request)
        return {name: value for name, value in (body | config.extra).items() if value is not None}

    def _response_format(self, request: Request) -> dict[str, Any] | None:
        if self.structured is Structured.OFF:
            return None
        if self.structured is Structured.JSON_OBJECT:
            return {"type": "json_object"}
        schema = {"name": str(request.purpose), "strict": True, "schema": dict(request.schema or {})}
        return {"type": "json_schema", "json_schema": schema}

    def yielding_to(self, complaint: str, request: Request) -> Dialect | None:
        """This dialect without what the endpoint complains about; None where the complaint is about something else."""
        complaint = complaint.lower()
        unsupported = "unsupported" in complaint or "not support" in complaint
        if unsupported and "max_completion_tokens" in complaint and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if unsupported and "temperature" in complaint and self.temperature:
            return replace(self, temperature=False)
        if any(words in complaint for words in OVERFLOW_WORDS) or not any(word in complaint for word in SCHEMA_WORDS):
            return None
        sent = request.schema is not None and self.structured is not Structured.OFF
        weaker = Structured.JSON_OBJECT if self.structured is Structured.JSON_SCHEMA else Structured.OFF
        return replace(self, structured=weaker) if sent and self.may_yield else None


def expected_tokens(request: Request) -> int:
    """How many tokens a request may take, prompt and reply together."""
    return sum(len(message.content) for message in request.messages) // CHARS_PER_TOKEN + request.max_tokens


def read_reply(content: bytes, request: Request) -> Reply | FailedAttempt:
    """The reply in the body of a 200. Tokens of a body without `usage` count as 0, cached ones as not known.

    Whether the reply repaired another is the conversation's business, which counts it.
    """
    if len(content) > MOST_BODY_BYTES:
        return FailedAttempt(Failure.BAD_BODY, f"answered with a body of more than {MOST_BODY_BYTES >> 20} MiB")
    body = _json(content)
    if not isinstance(body, dict):
        words = f"a body that is not a JSON object: {content[:80]!r}" if content.strip() else "an empty body"
        return FailedAttempt(Failure.BAD_BODY, f"answered with {words}")
    usage = _usage(body, AnnotationUsage(1, cached_tokens=None))
    choice = _first_choice(body)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if isinstance(text, str) and text.strip():
        return Reply(writable(text), choice.get("finish_reason") == "length", usage)
    return _without_content(body, choice, request)


def _without_content(body: Mapping[str, Any], choice: Mapping[str, Any], request: Request) -> FailedAttempt:
    usage = _usage(body, ONE_FAILURE)
    message = choice.get("message")
    if choice.get("finish_reason") == "length":
        words = f"spent all {request.max_tokens} tokens before the first word of its reply: allow more, or less thought"
        return FailedAttempt(Failure.SPENT, words, again=False, usage=usage)
    if isinstance(message, dict) and message.get("refusal"):
        words = writable(f"declined: {message['refusal']}")
        return FailedAttempt(Failure.REFUSED, words, again=False, usage=usage)
    if choice:
        return FailedAttempt(Failure.BAD_BODY, "answered without content", usage=usage)
    words = f"answered without choices: {_message(body)}" if "error" in body else "answered without choices"
    return FailedAttempt(Failure.BAD_BODY, words, usage=usage)


def read_refusal(status: int, content: bytes, headers: Mapping[str, str]) -> FailedAttempt:
    """What a status other than 200 means."""
    body = _json(content)
    message = _message(body) if isinstance(body, dict) else content.decode(errors="replace")
    message = f"answered {status}: {' '.join(message.split())[:500] or 'nothing more'}"
    wait_s = _retry_after(headers)
    kind = _kind(status)
    if kind is Failure.RATE_LIMITED and any(words in content.decode(errors="replace") for words in NO_QUOTA):
        return FailedAttempt(Failure.REFUSED, message, again=False, hopeless=True, status=status)
    if kind is not Failure.REFUSED and (wait_s or 0) > LONGEST_WAIT_S:
        message += f" (it asks for a pause of {wait_s:.0f} s)"
        return FailedAttempt(kind, message, again=False, hopeless=True, status=status)
    again = kind is not Failure.REFUSED
    return FailedAttempt(kind, message, again, status in (401, 403, 404), status, wait_s if again else None)


def _kind(status: int) -> Failure:
    if status == 429:
        return Failure.RATE_LIMITED
    if status == 408:
        return Failure.TIMEOUT
    return Failure.SERVER_ERROR if status == 409 or status >= 500 else Failure.REFUSED


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the endpoint asks to wait: a number of them, or a date (RFC 9110 §10.2.3)."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdecimal():
            return float(value) / divisor
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def served_models(content: bytes) -> list[str]:
    """The names in the body of GET /models; none where it is not such a list."""
    body = _json(content)
    data = body.get("data") if isinstance(body, dict) else None
    return sorted(writable(str(model["id"])) for model in data or () if isinstance(model, dict) and "id" in model)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # also what is not UTF-8, or nested without end
        return None


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _usage(body: Mapping[str, Any], call: AnnotationUsage) -> AnnotationUsage:
    """`call` with the tokens that the body reports. A failed attempt that reports none leaves the ledger as it is."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return call
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = {
        "prompt_tokens": _count(usage.get("prompt_tokens")),
        "output_tokens": _count(usage.get("completion_tokens")),
    }
    known = {name: count for name, count in counts.items() if count is not None}
    return replace(call, cached_tokens=_count(cached), **known)


def _count(value: Any) -> int | None:
    """A value as a number of tokens, if it can be one: servers report all sorts of things."""
    return value if type(value) is int and 0 <= value < MOST_TOKENS else None


def _message(body: Mapping[str, Any]) -> str:
    error = body.get("error", body)
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    return writable(str(message or json.dumps(error)))
