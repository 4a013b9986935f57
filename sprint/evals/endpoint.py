"""A client of any OpenAI-compatible chat endpoint: it asks, waits, tries again when the server is busy, and reads.

The wall clock is measured here, where the user stands; a wait for a busy server counts. Servers that say nothing about
SPRINT are read as sequential models. It does not know tasks, methods, right answers or files.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from sprint.errors import ConfigError, InputError, LLMError, LLMTimeout, LLMUnavailable
from sprint.evals.asking import Answer, Call
from sprint.evals.config import EvalConfig
from sprint.evals.results import read_timeline
from sprint.keys import bearer
from sprint.rows import writable
from sprint.usage import Usage

_BUSY = (429, 503)


class Endpoint:
    """Asks one model of one endpoint. Use it as an asynchronous context manager.

    transport  replaces the network (tests)
    pause_s    the first wait before trying again, then doubled
    """

    def __init__(
        self,
        config: EvalConfig,
        *,
        transport: Any = None,
        pause_s: float = 0.5,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config = config
        self.model = config.model
        self.transport = transport
        self.pause_s = pause_s
        self.now = clock

    async def __aenter__(self) -> Endpoint:
        import httpx

        self.client = httpx.AsyncClient(
            base_url=self.config.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(self.config.timeout_s, connect=10.0),
            limits=httpx.Limits(max_connections=None),  # the run bounds what is in flight
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
        names = [str(one.get("id")) for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
        if not names:
            raise ConfigError(f"{self.config.base_url} names no model at /models, expected an OpenAI-compatible server")
        if self.model and self.model not in names:
            raise ConfigError(f"{self.config.base_url} does not serve {self.model!r}, it serves {', '.join(names)}")
        self.model = self.model or names[0]
        return self.model

    async def ask(self, call: Call) -> Answer:
        """See `Asker.ask`."""
        began = self.now()
        reply = await self._patiently("POST", "chat/completions", self._body(call))
        return read_answer(reply, self.now() - began)

    def _body(self, call: Call) -> dict[str, Any]:
        config = self.config
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": call.text}],
            "temperature": config.temperature if call.temperature is None else call.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
            "seed": call.seed,
        }
        asked = {"mode": call.mode, "dispatch": config.dispatch, "timeline": call.timeline, "count_as_published": True}
        return body | ({} if config.plain else {"sprint": asked})

    async def _patiently(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
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
        return _checked(response.status_code, response.content, self.config.base_url)


def _checked(status: int, body: bytes, where: str) -> dict[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
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
        content, reasoning = (_text(choice["message"].get(key), key) for key in ("content", "reasoning_content"))
        details = reply.get("sprint") or {}
        usage = Usage.from_dict(details["usage"]) if details.get("usage") else sequential_usage(reply["usage"], wall_s)
        return Answer(
            text=content,
            reasoning=reasoning,
            usage=usage,
            wall_s=wall_s,
            stop_reason=str(details.get("stop_reason") or choice.get("finish_reason") or ""),
            method=str(details.get("method") or ""),
            timeline=read_timeline(details.get("timeline") or ()),
            # This project's server tells the whole text as reasoning; others tell the thoughts alone.
            written=reasoning if details and reasoning else _joined(reasoning, content),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise LLMError(f"the server's answer is not a chat completion ({type(error).__name__}: {error})") from error


def _text(value: object, key: str) -> str:
    """A text that can be written to a file."""
    if not isinstance(value, str | None):
        raise TypeError(f"{key} is a {type(value).__name__}, expected a text")
    return writable(value or "")


def _joined(reasoning: str, content: str) -> str:
    return f"{reasoning}\n</think>\n{content}" if reasoning else content


def sequential_usage(usage: Mapping[str, Any], wall_s: float) -> Usage:
    """A plain server's usage: one call, and every generated token is on the critical path."""
    generated = int(usage["completion_tokens"])
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    prompts = {"prompt_tokens": int(usage["prompt_tokens"]), "cached_prompt_tokens": cached}
    told = Usage.sequential(generated, **prompts, num_calls=1, wall_s=wall_s)
    return Usage.from_dict(told.as_dict())  # which refuses what is no count
