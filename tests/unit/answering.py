"""Answers of a method over a scripted endpoint."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from sprint.equality import same_answer
from sprint.evals.asking import Answer
from sprint.evals.endpoint import Endpoint
from sprint.evals.methods import get_method
from tests.unit.scripted_endpoint import Reply, ScriptedEndpoint, asked, config_of

QUESTION = "What is 4+1?"


def answer(folder: Path, reply: Reply | ScriptedEndpoint, **options: Any) -> tuple[Answer, ScriptedEndpoint]:
    """One answer of a method, and the endpoint that it asked."""
    endpoint = reply if isinstance(reply, ScriptedEndpoint) else ScriptedEndpoint(reply)
    config = config_of(folder, temperature=0.5, **options)

    async def run() -> Answer:
        async with Endpoint(config, transport=httpx.MockTransport(endpoint), pause_s=0.0) as asker:
            return await get_method(config, same_answer)(asker, QUESTION, seed=3)

    return asyncio.run(run()), endpoint


def skeleton(body: dict[str, Any]) -> str:
    """Plays a chat model that is asked for an outline, its points and the result."""
    text = asked(body)
    if "Do not answer yet" in text:
        return "Here it is:\n1. name the numbers\n2. **add them**\n3) conclude"
    if "Write out point" in text:
        return "they are 4 and 1" if "point 1" in text else "5 in all, which is much more than before"
    assert "they are 4 and 1" in text
    return "It is \\boxed{5}."
