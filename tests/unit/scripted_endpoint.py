"""A stub of an OpenAI-compatible chat endpoint: what it answers depends on the request alone, and it can go away."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from sprint.evals.config import EvalConfig
from sprint.evals.run import _Evaluation
from sprint.evals.solvers import HttpSolver
from sprint.evals.summary import Summary
from sprint.files import write_jsonl

Reply = Callable[[dict[str, Any]], str]
NUM_PROMPT_TOKENS = 7


class ScriptedEndpoint:
    """Answers `reply(body)` with as many tokens as it has characters; after `lives` calls it cannot be reached.

    jitter  calls end in an order of its own
    """

    def __init__(self, reply: Reply, *, lives: int | None = None, jitter: random.Random | None = None) -> None:
        self.reply, self.lives, self.jitter = reply, lives, jitter
        self.bodies = list[dict[str, Any]]()
        self.in_flight = self.most_in_flight = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "tiny"}]})
        if self.lives is not None and len(self.bodies) >= self.lives:
            raise httpx.ConnectError("connection refused")
        body = json.loads(request.content)
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for _ in range(self.jitter.randrange(4) if self.jitter else 1):
            await asyncio.sleep(0)
        self.in_flight -= 1
        return httpx.Response(200, json=completion(self.reply(body)))


def completion(text: str) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": NUM_PROMPT_TOKENS, "completion_tokens": len(text)},
    }


def asked(body: dict[str, Any]) -> str:
    text: str = body["messages"][0]["content"]
    return text


def guess(body: dict[str, Any]) -> str:
    """Right in about half of the cases, by question and seed."""
    n = int(asked(body).split("What is ")[1].split("+")[0])
    digest = hashlib.sha256(f"{n} {body['seed']}".encode()).digest()
    return "so " * (digest[1] % 5) + f"\\boxed{{{n + 1 + digest[0] % 2}}}"


def config_of(folder: Path, **options: Any) -> EvalConfig:
    """Sums to evaluate on: `What is N+1?`."""
    data = folder / "data.jsonl"
    count = options.pop("count", 6)
    write_jsonl(data, [{"id": str(i), "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(count)])
    return EvalConfig.model_validate(
        {"out": folder / "out.jsonl", "data": data, "model": "tiny", "concurrency": 3, "retries": 0} | options
    )


def stopped_clock() -> float:
    return 0.0


def run(config: EvalConfig, endpoint: ScriptedEndpoint) -> Summary:
    """The whole run against the endpoint, on a clock that stands."""
    solver = HttpSolver(config, transport=httpx.MockTransport(endpoint), pause_s=0.0, clock=stopped_clock)
    return asyncio.run(_Evaluation(config, solver).run())
