"""The solver: one question to an OpenAI-compatible endpoint, one `Answer` back.

It measures the wall clock where the user stands, at the client, and waits and tries again when the server is busy. It
does not know tasks, right answers or files. Servers that say nothing about SPRINT are read as sequential models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sprint.errors import ConfigError, InputError, LLMError, LLMTimeout, LLMUnavailable
from sprint.evals.config import EvalConfig
from sprint.keys import bearer
from sprint.usage import Usage

_BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. `wall_s` is measured by the client; `method` and `stop_reason` are the server's words."""

    text: str
    reasoning: str
    usage: Usage
    wall_s: float
    stop_reason: str = ""
    method: str = ""
    timeline: tuple[Mapping[str, Any], ...] = field(default=())


class HttpSolver:
    """Asks one model of one endpoint. Use it as an asynchronous context manager."""

    def __init__(self, config: EvalConfig, *, transport: Any = None, pause_s: float = 0.5) -> None:
        """`transport` replaces the network (tests); `pause_s` is the first wait before trying again, then doubled."""
        self.config = config
        self.model = config.model
        self.transport = transport
        self.pause_s = pause_s

    async def __aenter__(self) -> HttpSolver:
        import httpx

        limits = httpx.Limits(max_connections=self.config.concurrency)
        self.client = httpx.AsyncClient(
            base_url=self.config.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(self.config.timeout_s, connect=10.0),
            limits=limits,
            headers=bearer(),
            transport=self.transport,
            trust_env=False,  # a proxy meant for the internet must not stand before a server of one's own
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def find_model(self) -> str:
        """The name of the model to ask. Raises ConfigError when the endpoint is not there or does not serve it."""
        listed = await self._call("GET", "models", None)
        entries = listed.get("data")
        names = [str(entry.get("id")) for entry in entries] if isinstance(entries, list) else []
        if not names:
            raise ConfigError(f"{self.config.base_url} names no model at /models, expected an OpenAI-compatible server")
        if self.model and self.model not in names:
            raise ConfigError(f"{self.config.base_url} does not serve {self.model!r}, it serves {', '.join(names)}")
        self.model = self.model or names[0]
        return self.model

    async def solve(self, question: str, *, timeline: bool = False) -> Answer:
        """Ask once. Raises LLMUnavailable, LLMTimeout, LLMError or InputError (the server refused the request)."""
        began = time.perf_counter()
        reply = await self._json("POST", "chat/completions", self._body(question, timeline))
        return read_answer(reply, time.perf_counter() - began)

    def _body(self, question: str, timeline: bool) -> dict[str, Any]:
        config = self.config
        asked = {"mode": config.mode, "dispatch": config.dispatch, "timeline": timeline, "count_as_published": True}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
            "seed": config.seed,
            "sprint": asked,
        }

    async def _json(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object a call returns; busy servers and lost connections are tried again."""
        for attempt in range(self.config.retries + 1):
            try:
                return await self._call(verb, path, body)
            except LLMUnavailable:
                if attempt == self.config.retries:
                    raise
            await asyncio.sleep(self.pause_s * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _call(self, verb: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        import httpx

        try:
            response = await self.client.request(verb, path, json=body)
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
                raise LLMUnavailable(f"{self.config.base_url} does not answer") from error
            raise LLMTimeout(f"{self.config.base_url} gave no answer in {self.config.timeout_s:g} seconds") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise LLMUnavailable(f"{self.config.base_url} cannot be reached: {reason}") from error
        return _checked(response.status_code, response.text, self.config.base_url)


def _checked(status: int, text: str, where: str) -> dict[str, Any]:
    import json

    try:
        reply = json.loads(text)
    except ValueError:
        reply = None
    if status in _BUSY:
        raise LLMUnavailable(f"{where} is busy: {_message(reply, status)}")
    if 400 <= status < 500:
        raise InputError(f"{where} refused the request: {_message(reply, status)}")
    if status != 200:
        raise LLMError(f"{where} failed: {_message(reply, status)}")
    if not isinstance(reply, dict):
        raise LLMError(f"{where} answered something that is not a JSON object")
    return reply


def _message(reply: Any, status: int) -> str:
    error = reply.get("error") if isinstance(reply, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or f"status {status}")


def read_answer(reply: Mapping[str, Any], wall_s: float) -> Answer:
    """An answer from a chat completion. Raises LLMError when it is not shaped like one."""
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        details = reply.get("sprint") or {}
        usage = Usage.from_dict(details["usage"]) if details.get("usage") else _sequential_usage(reply["usage"], wall_s)
        return Answer(
            text=message.get("content") or "",
            reasoning=message.get("reasoning_content") or "",
            usage=usage,
            wall_s=wall_s,
            stop_reason=str(details.get("stop_reason") or choice.get("finish_reason") or ""),
            method=str(details.get("method") or ""),
            timeline=tuple(details.get("timeline") or ()),
        )
    except (KeyError, IndexError, TypeError, AttributeError, InputError) as error:
        raise LLMError(f"the server's answer is not a chat completion ({type(error).__name__}: {error})") from error


def _sequential_usage(usage: Mapping[str, Any], wall_s: float) -> Usage:
    """A plain server's usage: one call, and every generated token is on the critical path."""
    generated = int(usage["completion_tokens"])
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(
        paper_sequential_tokens=generated,
        code_sequential_tokens=generated,
        pipelined_tokens=generated,
        barrier_tokens=generated,
        generated_tokens=generated,
        prompt_tokens=int(usage["prompt_tokens"]),
        cached_prompt_tokens=cached,
        num_calls=1,
        wall_s=wall_s,
    )
