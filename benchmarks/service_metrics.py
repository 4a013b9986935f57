"""What the service still has to do, read from its metrics."""

from __future__ import annotations

import re

import aiohttp

_SAMPLE = re.compile(r"^(sprint_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
UNFINISHED = ("pool_running", "pool_waiting", "rollouts_in_progress", "requests_queued")


def summed(text: str) -> dict[str, float]:
    """The samples of a page of metrics by name, summed over their labels."""
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def unfinished(numbers: dict[str, float]) -> float:
    """What is being worked on: calls on the engines and in their queues, questions, requests."""
    return sum(numbers[f"sprint_{name}"] for name in UNFINISHED)


async def left_over(session: aiohttp.ClientSession, url: str) -> float:
    """What the service at `url` is working on; 0 when it is idle."""
    async with session.get(f"{url}/metrics") as response:
        return unfinished(summed(await response.text()))
