"""What a client hears of a chat completion, whole or streamed, in one shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Answered:
    """A status, the answers that were given, the tokens that were charged, and why there is no answer."""

    status: int
    answers: tuple[str, ...] = ()
    tokens: int = 0
    why: str = ""


async def ask(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Answered:
    """Raises httpx.HTTPError where the connection breaks."""
    response = await http.post(url, json=body)
    if response.status_code != 200:
        return Answered(response.status_code, why=response.text[:300])
    return _streamed(response) if body.get("stream") else _whole(response)


def _whole(response: httpx.Response) -> Answered:
    said = response.json()
    answers = tuple(choice["message"]["content"] for choice in said["choices"])
    return Answered(200, answers, said["usage"]["completion_tokens"])


def _streamed(response: httpx.Response) -> Answered:
    """An error in the midst of a stream counts as 503 or 500; a stream that just ends counts as 0."""
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    events: list[dict[str, Any]] = [json.loads(line) for line in data if line != "[DONE]"]
    errors = [event["error"] for event in events if event.get("error")]
    if errors:
        return Answered(503 if errors[0].get("code") == "unavailable" else 500, why=str(errors[0])[:300])
    choices = [choice for event in events for choice in event.get("choices", ())]
    if sum(choice.get("finish_reason") is not None for choice in choices) != 1 or data[-1] != "[DONE]":
        return Answered(0)
    tokens = sum((event.get("usage") or {}).get("completion_tokens", 0) for event in events)
    return Answered(200, ("".join(choice["delta"].get("content") or "" for choice in choices),), tokens)
