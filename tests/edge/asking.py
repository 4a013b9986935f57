"""How the tests of the endpoint's client ask: short questions, in a loop of their own, with quick retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pipelines.endpoint.client import Endpoint
from pipelines.endpoint.config import EndpointConfig
from sprint.requests import Message, Purpose, Reply, Request, Role
from tests.edge.misbehaving import MODEL

KEY_NAME = "ENDPOINT_TEST_KEY"
Work = Callable[[Endpoint], Coroutine[Any, Any, Any]]


def configured(url: str, **options: Any) -> EndpointConfig:
    quick: dict[str, Any] = {"model": MODEL, "api_key_env": KEY_NAME, "backoff_s": 0.01, "timeout_s": 60.0}
    return EndpointConfig(base_url=url, **quick | options)


def question(number: int = 0, **fields: Any) -> Request:
    return Request(Purpose.STEPS, (Message(Role.USER, f"question {number}"),), 64, **fields)


def running(config: EndpointConfig, work: Work) -> Any:
    """What `work` makes of a client, which is closed afterwards."""

    async def run() -> Any:
        client = Endpoint(config)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


def asking(count: int) -> Work:
    """Ask so many questions at once; the replies and the client's counters."""

    async def work(client: Endpoint) -> tuple[list[Reply], dict[str, int]]:
        replies = await asyncio.gather(*(client.ask(question(number)) for number in range(count)))
        return list(replies), {str(kind): times for kind, times in client.failures.items()}

    return work


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)
