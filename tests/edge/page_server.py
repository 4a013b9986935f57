"""The real HTTP application over the real engine and a scripted model, for a browser to look at.

It knows how to serve and how to hold the model's executions back until a test lets them go on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager

import httpx
import uvicorn

from serve_app.api.http_config import HttpConfig
from serve_app.api.ingress import Served, api
from serve_app.planner import Planner
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.llm import Chunk, Sampling
from sprint.options import EngineOptions
from sprint.render import Prompter
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, Rollout, Round, Trajectory
from tests.unit.follow import follow

BYTES = ByteTokenizer()
LONG = EngineOptions(temperature=0, max_tokens=1 << 30, max_plan_tokens=1 << 20, max_rounds=100)
CARD = ModelCard(Method.SPRINT, Instruction.NONE)
QUESTION = "What is the remainder of 7^100 modulo 13?"
POWERS = Trajectory(
    (
        Round(
            f"Two ways.\n{prompt(1, 1, 'Find the order of 7.')}\nAnd\n{prompt(1, 2, 'Reduce the exponent.')}\n"
            f"{prompt(1, 3, 'Square $7$ again and again.')}\nCompare.",
            (
                Execution("$7^{12} \\equiv 1$, so the order is $12$."),
                Execution("$100 = 8 \\cdot 12 + 4$"),
                Execution("$7^4 \\equiv 9$ and $7^{100} \\equiv 9$."),
            ),
        ),
        Round(f"Check.\n{prompt(2, 1, 'Divide 2401 by 13.')}", (Execution("$\\frac{2401 - 9}{13} = 184$"),)),
    ),
    "Since $\\frac{2401 - 9}{13} = 184$, it is $\\boxed{9}$.",
)


class Held(ScriptedLLM):
    """A scripted model whose executions say half of what they have to say and wait while `held` is set."""

    def __init__(self, script: Script) -> None:
        super().__init__(BYTES, script, chunk_tokens=3)
        self.held = threading.Event()

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        is_execution = "\n<execution_" in self.tokenizer.decode(prompt_ids[-20:])
        async with aclosing(super().stream(prompt_ids, sampling, session=session)) as chunks:
            count = 0
            async for chunk in chunks:
                yield chunk
                count += 1
                while is_execution and count > 2 and self.held.is_set():
                    await asyncio.sleep(0.005)


class Service:
    """A served scripted model. `says` sets what it says from now on."""

    def __init__(self, http: HttpConfig | None = None) -> None:
        self.model = Held(follow(POWERS))
        planner = Planner(self.model, Prompter(BYTES, CARD), 1 << 20)
        config = uvicorn.Config(
            api(planner, Served("scripted", Method.SPRINT), http), host="127.0.0.1", port=0, log_level="error"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def says(self, what: Trajectory | Script) -> None:
        self.model.script = follow(what) if isinstance(what, Trajectory) else what
        self.model.held.clear()

    @contextmanager
    def running(self) -> Iterator[Service]:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        try:
            yield self
        finally:
            self.model.held.clear()
            self._server.should_exit = True
            self._thread.join(20)

    def usage(self) -> dict[str, int]:
        """What the engine counts for the question, asked without a browser."""
        body = {"model": "scripted", "messages": [{"role": "user", "content": QUESTION}]}
        return dict(httpx.post(f"{self.url}/v1/chat/completions", json=body).json()["sprint"]["usage"])


def rollout_of(trajectory: Trajectory) -> tuple[list[object], Rollout]:
    """The engine's own events and rollout of a scripted trajectory."""
    llm = ScriptedLLM(BYTES, follow(trajectory), chunk_tokens=3)
    engine = Engine(llm, llm, Prompter(BYTES, CARD), 1 << 20)

    async def collect() -> list[object]:
        return [event async for event in engine.events(QUESTION, LONG)]

    events = asyncio.run(collect())
    return events, events[-1].rollout  # type: ignore[attr-defined]
