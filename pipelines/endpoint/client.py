"""Asks any OpenAI-compatible chat endpoint, and does not lose a request to a bad day of its server.

It knows HTTP through the `openai` client, when to try again and what failed how often. It knows nothing of traces. The
client's own retries are off: here every failed attempt is counted by its kind.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from pipelines.endpoint.config import EndpointConfig
from pipelines.endpoint.limit import limited_client
from pipelines.endpoint.pace import Pacer, Slot
from pipelines.endpoint.wire import (
    MOST_BODY_BYTES,
    Dialect,
    FailedAttempt,
    Failure,
    expected_tokens,
    read_refusal,
    read_reply,
    served_models,
)
from sprint.errors import InputError
from sprint.requests import AnnotationUsage, Message, Purpose, Reply, Request, RequestFailed, Role

MAX_BACKOFF_S = 60.0
CHECK_ATTEMPTS = 3
SECRET_CHARS = 8  # shorter keys are placeholders like `none`, and words of ordinary messages
MODELS_NAMED = 20  # how many served models an error names
HELLO = Request(Purpose.STEPS, (Message(Role.USER, "Reply with the word yes."),), max_tokens=16)

logger = logging.getLogger(__name__)


class EndpointRefused(InputError):
    """No request can succeed: wrong address, key or model. Raised only while none has; it should stop the run."""


class Endpoint:
    """A client for one event loop; make one in each process that asks, and `close` it.

    `share` is the part of the limits per minute that is this client's: one over the number of clients. `failures`
    counts the failed attempts by kind, `num_answered` the requests that were answered. The key is read from the
    environment when the client is made, and stands in no message, `repr` or log.
    """

    def __init__(self, config: EndpointConfig, *, share: float = 1.0, rng: random.Random | None = None) -> None:
        self.config = config
        self.failures: Counter[Failure] = Counter()
        self.num_answered = 0
        requests, tokens = config.max_requests_per_minute, config.max_tokens_per_minute
        self._pacer = Pacer(config.concurrency, requests and requests * share, tokens and tokens * share)
        self._dialect = Dialect.of(config.structured)
        self._random = rng or random.Random()
        self._key = config.api_key
        self._client: Any = None  # made by the first request
        if not (self._key.isascii() and self._key.isprintable()):
            raise EndpointRefused(f"the key in ${config.api_key_env} holds characters that an HTTP header cannot carry")

    async def ask(self, request: Request) -> Reply:
        """The reply. Its usage counts the failed attempts before it; `seconds` is the time of all attempts on the wire.

        Raises RequestFailed when every attempt failed or another would be useless, and EndpointRefused when no request
        has succeeded so far and none can. Cancelling it closes its connection.
        """
        outcome, spent = await self._try(request, self.config.max_attempts)
        if isinstance(outcome, Reply):
            return replace(outcome, usage=spent)
        message = self._sentence(outcome, spent.num_failures)
        if outcome.hopeless and not self.num_answered:
            raise EndpointRefused(message, field="endpoint")
        raise RequestFailed(message, spent)

    async def check(self) -> None:
        """Ask one tiny question. Raises EndpointRefused: what is wrong, with the served models where that helps."""
        outcome, spent = await self._try(HELLO, min(CHECK_ATTEMPTS, self.config.max_attempts))
        if isinstance(outcome, Reply) or outcome.kind is Failure.SPENT:  # it thinks: that will do
            return
        served = await self._served() if outcome.status in (400, 403, 404, 422) else []
        if served and self.config.model not in served:
            names = ", ".join(served[:MODELS_NAMED]) + (", …" if len(served) > MODELS_NAMED else "")
            message = f"{self.config.base_url} does not serve a model {self.config.model!r}, but: {names}"
            raise EndpointRefused(message, field="model")
        raise EndpointRefused(self._sentence(outcome, spent.num_failures), field="endpoint")

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _try(self, request: Request, attempts: int) -> tuple[Reply | FailedAttempt, AnnotationUsage]:
        """The reply, or the last failure; and what all attempts together cost."""
        spent, tried = AnnotationUsage(), 0
        while True:
            dialect = self._dialect
            outcome = await self._attempt(request, dialect)
            spent += outcome.usage
            if isinstance(outcome, Reply):
                self.num_answered += 1
                return outcome, spent
            if self._yields(dialect, outcome, request):
                self.failures[Failure.UNSUPPORTED] += 1
                continue
            self.failures[outcome.kind] += 1
            tried += 1
            if tried >= attempts or not outcome.again:
                return outcome, spent
            if not _for_load(outcome):  # else the pacer holds back everyone
                await asyncio.sleep(self._backoff_s(tried))

    async def _attempt(self, request: Request, dialect: Dialect) -> Reply | FailedAttempt:
        async with self._pacer.slot(expected_tokens(request)) as slot:
            began = time.perf_counter()
            outcome = await self._post(request, dialect)
            self._learn(slot, outcome)
            usage = replace(outcome.usage, seconds=time.perf_counter() - began)
            return replace(outcome, usage=usage)

    def _learn(self, slot: Slot, outcome: Reply | FailedAttempt) -> None:
        if isinstance(outcome, Reply):
            usage = outcome.usage
            tokens = usage.prompt_tokens + usage.output_tokens
            self._pacer.settle(slot, tokens or slot.reserved_tokens)  # no usage reported: the guess stands
        elif _for_load(outcome):
            self._pacer.narrow(slot, max(outcome.wait_s or 0.0, self._backoff_s(self._pacer.refusals + 1)))

    def _backoff_s(self, tried: int) -> float:
        """Exponential back-off with full jitter, so that requests that failed together do not return together."""
        return self._random.uniform(0, min(MAX_BACKOFF_S, self.config.backoff_s * 2.0 ** (tried - 1)))

    async def _post(self, request: Request, dialect: Dialect) -> Reply | FailedAttempt:
        import openai

        completions, config = self._connected().chat.completions.with_raw_response, self.config
        messages = [message.as_dict() for message in request.messages]
        body, headers = dialect.body(config, request), self._headers()
        try:
            async with asyncio.timeout(config.timeout_s):
                response = await completions.create(
                    model=config.model, messages=messages, extra_body=body, extra_headers=headers
                )
        except TimeoutError:
            return FailedAttempt(Failure.TIMEOUT, f"did not answer within {config.timeout_s:g} s")
        except openai.APIStatusError as error:
            return read_refusal(error.status_code, error.response.content, error.response.headers)
        except openai.APIConnectionError as error:
            return FailedAttempt(Failure.CONNECTION, f"cannot be reached, or hung up: {_cause(error)}")
        return read_reply(response.http_response.content, request)

    async def _served(self) -> list[str]:
        import openai

        try:
            async with asyncio.timeout(self.config.timeout_s):
                response = await self._connected().models.with_raw_response.list(extra_headers=self._headers())
        except (TimeoutError, openai.APIError):
            return []  # many endpoints have no list; the refusal itself is then all there is to say
        return served_models(response.http_response.content)

    def _connected(self) -> Any:
        """The client. It gets no limits of its own: the pacer counts, and `timeout_s` is for the whole reply."""
        import openai

        if self._client is None:
            told = {"api_key": self._key or "none", "base_url": self.config.base_url}
            http = limited_client(MOST_BODY_BYTES)
            self._client = openai.AsyncOpenAI(**told, max_retries=0, timeout=None, http_client=http)
        return self._client

    def _headers(self) -> dict[str, Any]:
        """Without a key there is no Authorization header: the server decides whether it needs one."""
        import openai

        return dict(self.config.headers) | ({} if self._key else {"Authorization": openai.Omit()})

    def _yields(self, sent: Dialect, failed: FailedAttempt, request: Request) -> bool:
        """Whether the request should be made again in a dialect that asks less of the endpoint."""
        if failed.status not in (400, 422):
            return False
        if sent == self._dialect:  # else another request's complaint has changed it meanwhile
            weaker = sent.yielding_to(failed.message, request)
            if weaker is None:
                return False
            logger.warning("%s; asking it from now on as %s", self._sentence(failed, 1), weaker)
            self._dialect = weaker
        return True

    def _sentence(self, failed: FailedAttempt, attempts: int) -> str:
        name = self.config.api_key_env
        hints = {
            401: f" (the key is that in ${name})" if self._key else f" (no key was sent: ${name} is not set)",
            404: f" (is base_url right, and does it serve {self.config.model!r}?)",
        }
        times = f" (after {attempts} attempts)" if attempts > 1 else ""
        message = f"{self.config.base_url} {failed.message}{hints.get(failed.status or 0, '')}{times}"
        return message.replace(self._key, "***") if len(self._key) >= SECRET_CHARS else message


def _for_load(failed: FailedAttempt) -> bool:
    return failed.kind is Failure.RATE_LIMITED or failed.wait_s is not None


def _cause(error: BaseException) -> str:
    """The innermost cause, which says more than the layers around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
