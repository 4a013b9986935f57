"""A server elsewhere in place of a pool: any OpenAI-compatible endpoint, asked over HTTP.

It knows `sprint.http_llm` and the environment variable with the key; the key itself is in no config, log or message.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from serve_app.config import EndpointConfig
from serve_app.pools.affinity import Tally
from serve_app.pools.continuation import Continuation, singly
from serve_app.pools.readiness import PoolReadiness, ReadinessState
from serve_app.pools.stats import PoolStats
from sprint.errors import ConfigError, LLMUnavailable
from sprint.http_llm import HttpLLM
from sprint.llm import Chunk, Sampling
from sprint.tokenizer import Tokenizer

ANSWER_S = 3.0
RETRIES = 3
PAUSE_S = 0.2  # before a call is taken up again, doubled each time


class RemoteLLM:
    """Implements `sprint.llm.LLM`. A call that the server drops goes on from the ids sampled so far."""

    def __init__(self, config: EndpointConfig, tokenizer: Tokenizer, pause_s: float = PAUSE_S) -> None:
        self.tally = Tally()
        self._pause_s = pause_s
        self._decode = tokenizer.decode
        self._llm = HttpLLM(
            config.base_url,
            config.model,
            tokenizer,
            dialect=config.dialect,
            api_key=key_of(config),
            timeout_s=config.timeout_s,
        )

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`."""
        call, failures = Continuation(prompt_ids, sampling), 0
        try:
            while not call.finished:
                if call.tokens_left < 1:
                    yield call.end()
                    return
                self.tally.calls += 1
                try:
                    async with aclosing(self._attempt(call, session)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                except LLMUnavailable:
                    failures += 1
                    if failures > RETRIES:
                        self.tally.lost += 1
                        raise
                    self.tally.retries += 1
                    await asyncio.sleep(self._pause_s * 2 ** (failures - 1))
        except (asyncio.CancelledError, GeneratorExit):
            self.tally.cancelled += not call.finished
            raise

    async def _attempt(self, call: Continuation, session: str) -> AsyncGenerator[Chunk, None]:
        """What one request gets of the call."""
        async with aclosing(self._llm.stream(call.prompt_ids, call.attempt(), session=session)) as chunks:
            async for chunk in chunks:
                for piece in singly(chunk, self._decode, call.singly_chars):
                    yield call.take(piece)
                    if call.finished:
                        return


class RemotePool:
    """A `Pool` whose engines nobody here can see into."""

    def __init__(self, name: str, config: EndpointConfig, tokenizer: Tokenizer) -> None:
        self.llm = RemoteLLM(config, tokenizer)
        self._name, self._config = name, config

    def leave(self) -> None:
        """See Pool."""

    async def turn(self) -> None:
        """See Pool. What is elsewhere is upgraded elsewhere."""

    async def stats(self) -> PoolStats:
        """See Pool."""
        return PoolStats(self._name, routes=self.llm.tally.counts(), remote=True)

    async def readiness(self) -> PoolReadiness:
        """See Pool. Any answer to a question about its models shows that the server is there."""
        import httpx

        url = self._config.base_url.rstrip("/").removesuffix("/v1") + "/v1/models"
        key = key_of(self._config)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with httpx.AsyncClient(timeout=ANSWER_S) as client:
                status = (await client.get(url, headers=headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._failed(f"{url} cannot be reached: {error or type(error).__name__}")
        if status in (401, 403) or status >= 500:
            return self._failed(f"{url} answers {status}")
        return PoolReadiness(self._name, ReadinessState.READY, "", 1, 1)

    def _failed(self, reason: str) -> PoolReadiness:
        return PoolReadiness(self._name, ReadinessState.FAILED, reason, 0, 1)


def key_of(config: EndpointConfig) -> str:
    """The endpoint's key. Raises ConfigError when its environment variable is not set."""
    if not config.api_key_env:
        return ""
    key = os.environ.get(config.api_key_env, "")
    if not key:
        raise ConfigError(f"the environment variable {config.api_key_env} is not set", field="endpoint.api_key_env")
    return key
