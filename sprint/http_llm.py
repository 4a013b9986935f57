"""The LLM seam over HTTP: any server with OpenAI's `/v1/completions`.

Dialect `vllm` sends token ids and gets token ids back. Dialect `openai` is for servers that know only text: prompts go
out as text, stop strings are watched for here, and the ids are a re-encoding, marked as inexact. It knows no rounds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sprint.errors import ContextOverflow, EndpointFailed, LLMError, LLMTimeout, LLMUnavailable
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.tokenizer import Tokenizer

if TYPE_CHECKING:
    import httpx


class Dialect(StrEnum):
    """What the server understands."""

    VLLM = "vllm"  # token ids in and out, stop strings included in the output
    OPENAI = "openai"  # text only


class HttpLLM:
    """A model behind an HTTP endpoint.

    base_url   with or without a trailing /v1
    model      the name the server knows it by
    timeout_s  longest silence between two pieces of an answer
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        tokenizer: Tokenizer,
        *,
        dialect: Dialect = Dialect.VLLM,
        api_key: str = "",
        timeout_s: float = 300.0,
    ) -> None:
        self.url = base_url.rstrip("/").removesuffix("/v1") + "/v1/completions"
        self.model = model
        self.tokenizer = tokenizer
        self.dialect = dialect
        self.timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()
            self._client = None

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`. Closing the generator closes the connection, and with it the call on the server."""
        body = self._body(prompt_ids, sampling, session)
        read = _Reading(self.tokenizer, sampling.stop if self.dialect is Dialect.OPENAI else ())
        held: Chunk | None = None  # the last chunk waits for the usage that follows it
        async with self._post(body) as events:
            async for event in events:
                chunk = read.chunk(event)
                if chunk and held:
                    yield held
                held = chunk or held
                if read.stopped:
                    break
        if held is None or (held.finish_reason is None and not read.stopped):
            raise EndpointFailed(f"{self.url} ended its answer without a finish reason")
        yield replace(held, cached_tokens=read.cached_tokens)

    def _body(self, prompt_ids: Sequence[int], sampling: Sampling, session: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.dialect is Dialect.OPENAI:
            return body | {"prompt": self.tokenizer.decode(prompt_ids)}
        extra = {"priority": sampling.priority} if sampling.priority else {}
        return (
            body
            | extra
            | {
                "prompt": list(prompt_ids),
                "stop": list(sampling.stop),
                "include_stop_str_in_output": True,
                "return_token_ids": True,
                "skip_special_tokens": False,
                "spaces_between_special_tokens": False,
            }
        )

    @asynccontextmanager
    async def _post(self, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        import httpx

        if self._client is None:
            limits = httpx.Limits(max_connections=None)
            self._client = httpx.AsyncClient(timeout=self.timeout_s, headers=self._headers, limits=limits)
        try:
            async with self._client.stream("POST", self.url, json=body) as response:
                if response.status_code != 200:
                    raise _refusal(self.url, response.status_code, (await response.aread()).decode(errors="replace"))
                yield _events(response.aiter_lines(), self.url)
        except httpx.TimeoutException as error:
            raise LLMTimeout(f"{self.url} was silent for {self.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise LLMUnavailable(f"{self.url} cannot be reached: {error or type(error).__name__}") from error


async def _events(lines: AsyncIterator[str], url: str) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a server-sent event stream."""
    async for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        try:
            event: dict[str, Any] = json.loads(data)
        except ValueError:
            raise EndpointFailed(f"{url} sent an event that is not JSON: {data[:80]!r}") from None
        if "error" in event:
            raise EndpointFailed(f"{url} failed: {_message(event)}")
        yield event


def _refusal(url: str, status: int, body: str) -> LLMError:
    try:
        message = _message(json.loads(body))
    except (ValueError, TypeError, AttributeError):
        message = body[:200]
    text = f"{url} answered {status}: {message}"
    if status == 400 and "unknown" in message:
        text += " (a server that does not take vLLM's parameters needs dialect 'openai')"
    if status in (429, 503):
        return LLMUnavailable(text)
    overflow = status == 400 and any(words in message for words in ("context length", "longer than", "max_model_len"))
    return ContextOverflow(text) if overflow else EndpointFailed(text)


def _message(body: Mapping[str, Any]) -> str:
    error = body.get("error", body)
    return str(error.get("message", error) if isinstance(error, dict) else error)


@dataclass
class _Reading:
    """Turns the server's events into chunks."""

    tokenizer: Tokenizer
    watched: tuple[str, ...]  # stop strings to look for here, because the server was not told
    text: str = ""
    cached_tokens: int | None = None
    stopped: bool = False

    def chunk(self, event: Mapping[str, Any]) -> Chunk | None:
        details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
        self.cached_tokens = details.get("cached_tokens", self.cached_tokens)
        if not event.get("choices"):
            return None
        choice = event["choices"][0]
        text, finish = choice.get("text") or "", _finish(choice)
        cut = self._cut(text)
        if cut is not None:
            self.stopped = True
            text, finish = cut, FinishReason.STOP
        ids = None if self.watched else choice.get("token_ids")
        return Chunk(self._ids(ids, text, finish), text, finish, exact=ids is not None)

    def _cut(self, text: str) -> str | None:
        """`text` up to the end of the first stop string that it completes."""
        before, self.text = len(self.text), self.text + text
        ends = [self.text.index(stop) + len(stop) for stop in self.watched if stop in self.text]
        return self.text[before : min(ends)] if ends else None

    def _ids(self, ids: Sequence[int] | None, text: str, finish: FinishReason | None) -> tuple[int, ...]:
        if ids is not None:
            return tuple(ids)
        eos = self.tokenizer.eos_id if finish is FinishReason.EOS else None
        return tuple(self.tokenizer.encode(text)) + (() if eos is None else (eos,))


def _finish(choice: Mapping[str, Any]) -> FinishReason | None:
    match choice.get("finish_reason"):
        case None:
            return None
        case "length":
            return FinishReason.LENGTH
        case _:
            return FinishReason.STOP if isinstance(choice.get("stop_reason"), str) else FinishReason.EOS
