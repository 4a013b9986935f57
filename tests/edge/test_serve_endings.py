"""Answers that end before their time: streams that break off, and readers that stop reading."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from serve_app.api.http_config import HttpConfig
from sprint.errors import LLMUnavailable
from sprint.events import Delta, Event, Finished, Part
from sprint.llm import Chunk
from tests.edge.api_server import CHAT, COMPLETIONS, PROMPTED, begun, eventually, pieces_of, serving
from tests.scripted_planner import ScriptedPlanner
from tests.scripts import always_answering

# --- streams that break off ------------------------------------------------------------------------------------------


class BreakingOff(ScriptedPlanner):
    """Begins to answer, and then its engine is gone; the first of several answers has been given by then."""

    async def events(
        self, question: str, options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Event], None]:
        if request_id == "two":
            yield [Finished(await self.rollout(question, options, request_id))]
            return
        yield [Delta(Part.PLAN, 1, 0, "a plan")]
        if request_id == "two.1":
            await asyncio.sleep(0.2)
        raise LLMUnavailable("the engine is gone")

    async def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Chunk], None]:
        yield [Chunk((65,), "A")]
        raise LLMUnavailable("the engine is gone")


@pytest.mark.parametrize(("path", "name", "n"), [(CHAT, "one", 1), (CHAT, "two", 2), (COMPLETIONS, "text", 1)])
def test_a_stream_that_breaks_off_is_no_good_answer(
    path: str, name: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr("serve_app.observe.logs.access", lambda line, _: ended.append(line.outcome))
    with serving(BreakingOff(always_answering)) as server:
        answer = server.post(path, stream=True, n=n, headers={"x-request-id": name})
        assert answer.status_code == 200
        assert "error" in pieces_of(answer.text)[-1]
        endpoint = "chat" if path == CHAT else "completions"
        eventually(lambda: server.count("requests_in_flight", endpoint=endpoint) == 0)
        assert server.count("requests_total", endpoint=endpoint, outcome="503") == 1
        assert server.count("requests_total", endpoint=endpoint, outcome="200") == 0
        assert sum(server.count("rollouts_total", mode=mode) for mode in ("rounds", "sequential")) == n - 1
        eventually(lambda: ended == ["failed"])


def test_a_stream_whose_rollout_failed_is_no_good_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking_off(context: str) -> str:
        if "<Execution_1>" in context:
            raise LLMUnavailable("the engine is gone")
        return always_answering(context)

    ended: list[str] = []
    monkeypatch.setattr("serve_app.observe.logs.access", lambda line, _: ended.append(line.outcome))
    with serving(ScriptedPlanner(breaking_off)) as server:
        assert "error" in pieces_of(server.post(stream=True).text)[-1]
        eventually(lambda: ended == ["failed"])
        assert server.count("requests_total", endpoint="chat", outcome="failed") == 1


# --- readers that stop reading ---------------------------------------------------------------------------------------


class Endless(ScriptedPlanner):
    """Continues a prompt for as long as somebody listens."""

    listened_to = 0

    async def complete(
        self, prompt: str | Sequence[int], options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Chunk], None]:
        self.listened_to += 1
        try:
            while True:
                yield [Chunk((65,), "A" * 1000)]
                await asyncio.sleep(0)
        finally:
            self.listened_to -= 1


def test_who_stops_reading_is_given_up() -> None:
    planner = Endless(always_answering)
    http = HttpConfig(max_requests=1, max_queued=0, stall_timeout_s=0.2)
    body = json.dumps(PROMPTED | {"stream": True}).encode()
    with serving(planner, http) as server, begun(server, COMPLETIONS, body, len(body)):
        eventually(lambda: planner.listened_to == 1)
        eventually(lambda: planner.listened_to == 0)
        eventually(lambda: server.count("requests_in_flight", endpoint="completions") == 0)
        assert server.count("requests_disconnected_total") == 1
        assert server.post().status_code == 200
