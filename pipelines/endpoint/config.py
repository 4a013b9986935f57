"""What a person can say about a chat endpoint. Knows the key's name only; imports nothing heavy."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from sprint.config import StrictModel

HIDDEN = "(hidden)"
OWN_FIELDS = ("model", "messages", "stream", "n", "response_format", "max_tokens", "max_completion_tokens")
SECRET_WORDS = (
    *("token", "key", "apikey", "secret", "secrets", "password", "passwd", "passphrase", "pwd"),
    *("credential", "credentials", "authorization", "auth", "bearer", "cookie"),
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
SECRET_HEADERS = ("authorization", "proxy-authorization", "api-key", "x-api-key", "cookie")


class Structured(StrEnum):
    """How a reply is held to the request's JSON schema. AUTO tries them in this order and keeps what is accepted."""

    AUTO = "auto"
    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    OFF = "off"


def _mask(value: Any) -> Any:
    """What is not a variable's name may be the key itself: it must not be repeated in a message."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) else HIDDEN


def _no_key(value: str) -> str:
    if value == HIDDEN:
        raise ValueError("expected the name of the environment variable that holds the key, never the key itself")
    return value


def _mask_secrets(value: Any) -> Any:
    """An address with a login, a query or a fragment is not repeated: any of them may hold a key."""
    if not isinstance(value, str):
        return value
    return HIDDEN if "@" in value.partition("://")[2].split("/")[0] or "?" in value or "#" in value else value


def _web_address(value: str) -> str:
    if value == HIDDEN:
        raise ValueError(
            "expected no user name or password and no query in it: the key comes from the variable `api_key_env` names"
        )
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good:
        raise ValueError("expected an address like https://api.openai.com/v1")
    return value.rstrip("/")


def _mask_headers(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: HIDDEN if str(name).lower() in SECRET_HEADERS else text for name, text in value.items()}


def _no_secrets(headers: dict[str, str]) -> dict[str, str]:
    for name, text in headers.items():
        if text == HIDDEN:
            raise ValueError(f"{name!r} carries a key: put it into the variable that `api_key_env` names")
    return headers


def masked(values: Any, *, secret: bool = False) -> Any:
    """JSON values as they may be shown and kept: texts under a name like `hf_token` or `apiKey` are hidden.

    Numbers stay whatever their name, so that `max_tokens` does. `secret`: the values stand under such a name.
    """
    if isinstance(values, dict):
        return {name: masked(value, secret=secret or _is_secret(str(name))) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [masked(value, secret=secret) for value in values]
    return HIDDEN if secret and isinstance(values, str) else values


def _is_secret(name: str) -> bool:
    """Whether one of the words of a name, in any way of writing them, says that a secret follows."""
    return any(word.lower() in SECRET_WORDS for word in _WORD.findall(name))


class EndpointConfig(StrictModel):
    """An OpenAI-compatible chat endpoint and how hard it may be driven. Limits per minute hold for the whole run."""

    base_url: Annotated[str, AfterValidator(_web_address), BeforeValidator(_mask_secrets)] = Field(
        "https://api.openai.com/v1", description="where /chat/completions lies; usually ends in /v1"
    )
    model: str = Field(min_length=1, description="name of the model, as the endpoint lists it")
    api_key_env: Annotated[str, AfterValidator(_no_key), BeforeValidator(_mask)] = Field(
        "OPENAI_API_KEY", description="NAME of the environment variable that holds the key; unset: no key is sent"
    )
    concurrency: int = Field(32, ge=1, le=1000, description="requests in flight at once, in all processes together")
    timeout_s: float = Field(120.0, gt=0, description="longest wait for one whole reply, long thoughts included")
    max_attempts: int = Field(6, ge=1, description="how often one request is made before its row is given up")
    backoff_s: float = Field(1.0, ge=0, description="most seconds before the second attempt; doubles with each more")
    max_requests_per_minute: float | None = Field(None, gt=0, description="None: as many as the endpoint takes")
    max_tokens_per_minute: float | None = Field(None, gt=0, description="of prompts and replies; None: no limit")
    temperature: float = Field(0.0, ge=0, le=2)
    seed: int | None = Field(None, description="sent with every request, where the endpoint knows it")
    structured: Structured = Field(Structured.AUTO, description="how replies are held to a JSON schema")
    extra: dict[str, Any] = Field(default_factory=dict, description="more of the body, e.g. reasoning_effort: low")
    headers: Annotated[dict[str, str], AfterValidator(_no_secrets), BeforeValidator(_mask_headers)] = Field(
        default_factory=dict, description="more HTTP headers; the key is not one of them"
    )

    @field_validator("structured", mode="before")
    @classmethod
    def _off_in_yaml(cls, value: Any) -> Any:
        return Structured.OFF if value is False else value  # YAML reads `off` as false

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in extra:
            if name in OWN_FIELDS:
                raise ValueError(f"{name!r} is set for every request and cannot be given here")
        return extra

    @property
    def api_key(self) -> str:
        """The key from the environment of this process; empty where the variable is not set."""
        return os.environ.get(self.api_key_env, "").strip()
