"""What goes wrong at the door, and how a client is told: statuses, headers and OpenAI's error object.

It knows the project's errors and HTTP statuses, neither servers nor requests.
"""

from __future__ import annotations

from typing import Any

from sprint.ending import error_kind
from sprint.errors import ContextOverflow, EndpointFailed, InputError, LLMTimeout, LLMUnavailable, SprintError
from sprint.types import Rollout, StopReason

LONGEST_MESSAGE = 600  # characters: a mistake is quoted, but a client is not sent its own megabyte back
RETRY_AFTER_S = 1


class UnknownModel(InputError):
    """The request names a model that is not served here."""


class Unauthorized(SprintError):
    """No key, or one that is not known."""


class TooLarge(InputError):
    """The body is longer than is taken."""


class BodyTimeout(InputError):
    """The body did not arrive in time."""


class Overloaded(SprintError):
    """The house is full. `reason` names the bound that was met, `retry_after_s` when to come back."""

    def __init__(self, message: str, reason: str = "queue_full", retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


# The first that fits counts.
STATUS: tuple[tuple[type[SprintError], int, str | None], ...] = (
    (UnknownModel, 404, "model_not_found"),
    (Unauthorized, 401, "invalid_api_key"),
    (TooLarge, 413, "request_too_large"),
    (BodyTimeout, 408, None),
    (ContextOverflow, 400, "context_length_exceeded"),
    (InputError, 400, None),
    (Overloaded, 503, "overloaded"),
    (LLMTimeout, 504, "timeout"),
    (LLMUnavailable, 503, "unavailable"),
    (EndpointFailed, 502, "bad_gateway"),
    (SprintError, 500, None),
)
KINDS = {401: "authentication_error", 403: "permission_error", 404: "invalid_request_error", 503: "server_error"}


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status, _ in STATUS if isinstance(error, kind)), 500)


def headers_of(error: Exception) -> dict[str, str]:
    """What a client must be told beside the body."""
    status = status_of(error)
    if status == 401:
        return {"www-authenticate": "Bearer"}
    if status == 503:
        return {"retry-after": str(getattr(error, "retry_after_s", RETRY_AFTER_S))}
    return {}


def error_of(error: Exception) -> dict[str, Any]:
    """An error in OpenAI's shape. What was not raised on purpose is not told to strangers."""
    if not isinstance(error, SprintError):
        return error_object("the server failed on this request; its log says more", 500)
    code = next(code for kind, _, code in STATUS if isinstance(error, kind))
    return error_object(str(error), status_of(error), getattr(error, "field", None), code)


def error_object(message: str, status: int, field: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": brief(message), "type": kind, "param": field, "code": code}}


def brief(message: str) -> str:
    """One line, its middle left out where it is too long, in characters that can be sent."""
    line = " ".join(message.split()).encode("utf-8", "replace").decode()
    half = LONGEST_MESSAGE // 2
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:half]} … {line[-half:]}"


def failure_of(rollout: Rollout) -> SprintError | None:
    """Why the engine failed under a rollout, as the error it would have been; None when it did not."""
    if rollout.stop_reason is not StopReason.FAILED:
        return None
    return error_kind(rollout.failure)(f"the engine failed: {rollout.detail or 'no detail was given'}")
