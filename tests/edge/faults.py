"""What can go wrong with a chat endpoint, scripted or drawn by seed. Knows no HTTP."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Fault(StrEnum):
    """What the server may do instead of answering; the value is the kind under which a client should count it."""

    kind: str

    def __new__(cls, name: str, kind: str) -> Self:
        member = str.__new__(cls, name)
        member._value_, member.kind = name, kind
        return member

    RATE_LIMIT = "rate_limit", "rate_limited"  # 429 with Retry-After
    RATE_LIMIT_SILENT = "rate_limit_silent", "rate_limited"  # 429 without
    NO_QUOTA = "no_quota", "refused"  # 429 that will never end
    SERVER_ERROR = "server_error", "server_error"  # 500
    OVERLOADED = "overloaded", "server_error"  # 503 with Retry-After
    CONFLICT = "conflict", "server_error"  # 409
    REQUEST_TIMEOUT = "request_timeout", "timeout"  # 408
    STALL = "stall", "timeout"  # no answer for `stall_s`
    DRIP = "drip", "timeout"  # a byte now and then, for `stall_s`: never silent, never done
    RESET = "reset", "connection"  # hangs up before the answer
    DISCONNECT = "disconnect", "connection"  # hangs up in the middle of the body
    TRUNCATED_JSON = "truncated_json", "bad_body"
    EMPTY_BODY = "empty_body", "bad_body"
    NO_CHOICES = "no_choices", "bad_body"
    NO_CONTENT = "no_content", "bad_body"
    THOUGHT_ONLY = "thought_only", "bad_body"  # reasoning_content, but no content
    ERROR_IN_200 = "error_in_200", "bad_body"
    FLOOD = "flood", "bad_body"  # a body that hardly ends: 128 MiB of it
    SPENT = "spent", "spent"  # the thought took all tokens
    DECLINED = "declined", "refused"  # `refusal` instead of content
    BAD_REQUEST = "bad_request", "refused"  # 400
    UNAUTHORIZED = "unauthorized", "refused"  # 401
    FORBIDDEN = "forbidden", "refused"  # 403
    NOT_FOUND = "not_found", "refused"  # 404
    TOO_LARGE = "too_large", "refused"  # 413
    INVENTED = "invented", ""  # a good answer with the content distorted; nothing a client could count


STATUS = {
    Fault.RATE_LIMIT: 429,
    Fault.RATE_LIMIT_SILENT: 429,
    Fault.NO_QUOTA: 429,
    Fault.SERVER_ERROR: 500,
    Fault.OVERLOADED: 503,
    Fault.CONFLICT: 409,
    Fault.REQUEST_TIMEOUT: 408,
    Fault.BAD_REQUEST: 400,
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.NOT_FOUND: 404,
    Fault.TOO_LARGE: 413,
}


@dataclass(frozen=True)
class Faults:
    """What goes wrong: first `script`, in order of arrival; then, for each attempt, at most one of `rates`.

    A request is spared after `most` faults, so that a client which tries once more than that loses nothing.
    """

    script: Sequence[Fault | None] = ()
    rates: Mapping[Fault, float] = field(default_factory=dict)
    most: int = 3
    seed: int = 0
    retry_after: str = "0.05"
    stall_s: float = 30.0

    def of(self, arrival: int, key: str, suffered: int, attempt: int) -> Fault | None:
        if arrival < len(self.script):
            return self.script[arrival]
        if suffered >= self.most:
            return None
        draw = random.Random(f"{self.seed}:{key}:{attempt}").random()
        for fault, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                return fault
        return None


@dataclass(frozen=True)
class Asked:
    """One request that arrived, and what became of it. `key` is that of the `Request` with the same messages."""

    key: str
    attempt: int
    fault: Fault | None
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    refused_field: str = ""
