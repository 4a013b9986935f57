"""Benchmark of the annotating client against a local endpoint of fixed latency: one request after another, and many.

    python -m benchmarks.endpoint

Both in one run, on kept-alive connections. Prints a table; asserts nothing.
"""

from __future__ import annotations

import asyncio
import time

from rich.console import Console
from rich.table import Table

from pipelines.endpoint.client import Endpoint
from pipelines.endpoint.config import EndpointConfig
from sprint.requests import Message, Purpose, Request, Role
from tests.edge.misbehaving import MODEL, MisbehavingServer

LATENCY_S = 0.25
CONCURRENCY = 32
NUM_SEQUENTIAL = 20
NUM_AT_ONCE = 640
GOAL = 20
LINES = "\n".join(f"L{number}: so {number} + 1 = {number + 1}, and the sum grows again." for number in range(300))


def question(number: int) -> Request:
    """A prompt as long as a numbered trace."""
    return Request(Purpose.STEPS, (Message(Role.USER, f"trace {number}\n{LINES}"),), 256)


async def rate(url: str, concurrency: int, count: int) -> float:
    """Requests per second, once the connections are open."""
    client = Endpoint(EndpointConfig(base_url=url, model=MODEL, concurrency=concurrency))
    await asyncio.gather(*(client.ask(question(-number)) for number in range(concurrency)))
    start = time.perf_counter()
    await asyncio.gather(*(client.ask(question(number)) for number in range(count)))
    seconds = time.perf_counter() - start
    await client.close()
    return count / seconds


def main() -> None:
    with MisbehavingServer(reply=lambda messages: "1-4, 5-9, 10-12", latency_s=LATENCY_S) as server:
        one = asyncio.run(rate(server.url, 1, NUM_SEQUENTIAL))
        many = asyncio.run(rate(server.url, CONCURRENCY, NUM_AT_ONCE))
    table = Table("in flight", "requests/s", "ratio", title=f"endpoint, {LATENCY_S * 1000:.0f} ms latency")
    table.add_row("1", f"{one:.2f}", "1.0")
    table.add_row(f"{CONCURRENCY} (peak {server.peak})", f"{many:.1f}", f"{many / one:.1f} (goal: at least {GOAL})")
    Console().print(table)


if __name__ == "__main__":
    main()
