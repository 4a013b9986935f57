"""Keys, origins, limits, load, and clients that go away: what the door lets in and what becomes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.api.http_config import HttpConfig
from serve_app.observe.tracing import Request
from sprint.types import Rollout
from tests.edge.api_server import (
    ASKED,
    CHAT,
    COMPLETIONS,
    PROMPTED,
    ApiServer,
    eventually,
    serving,
    status_before_the_body,
)
from tests.scripted_planner import ScriptedPlanner
from tests.scripts import always_answering

SLOW = 0.02  # seconds a token where a test needs an answer to last


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering)) as server:
        yield server


# --- keys and origins ------------------------------------------------------------------------------------------------


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("alice:sk-1\n")
    return path


def test_a_server_with_keys_is_open_to_those_who_have_one(keys_file: Path) -> None:
    with serving(ScriptedPlanner(always_answering), HttpConfig(keys_file=keys_file, open_metrics=False)) as server:
        known, unknown = {"authorization": "Bearer sk-1"}, {"authorization": "Bearer sk-2"}
        for path in (CHAT, COMPLETIONS):
            assert server.post(path, headers=known).status_code == 200
            for headers in (None, unknown):
                refused = server.post(path, headers=headers)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
                assert refused.json()["error"]["code"] == "invalid_api_key"
        for path, open_to_all in [
            ("/health", 1),
            ("/ready", 1),
            ("/metrics", 0),
            ("/v1/models", 0),
            ("/v1/models/m", 0),
        ]:
            assert (server.get(path).status_code == 200) == bool(open_to_all), path
            assert server.get(path, headers=known).status_code == 200


def test_a_request_without_a_key_is_refused_before_its_body_is_read(keys_file: Path) -> None:
    with serving(ScriptedPlanner(always_answering), HttpConfig(keys_file=keys_file)) as server:
        assert status_before_the_body(server, 1000) == 401


def test_pages_elsewhere_may_not_ask_unless_they_are_named(server: ApiServer) -> None:
    asked = {"origin": "http://page", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in server.client.options(CHAT, headers=asked).headers
    assert "access-control-allow-origin" not in server.get("/v1/models", headers={"origin": "http://page"}).headers
    with serving(ScriptedPlanner(always_answering), HttpConfig(cors_origins=("http://page",))) as named:
        assert named.client.options(CHAT, headers=asked).headers["access-control-allow-origin"] == "http://page"
        answer = named.post(headers={"origin": "http://page"})
        assert answer.headers["access-control-allow-origin"] == "http://page"
        other = named.post(headers={"origin": "http://other"})
        assert "access-control-allow-origin" not in other.headers


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    with serving(ScriptedPlanner(always_answering), HttpConfig(max_body_bytes=1000)) as server:
        assert status_before_the_body(server, 1001) == 413
        assert server.post().status_code == 200


def test_a_body_without_an_end_is_refused_while_it_is_read() -> None:
    with serving(ScriptedPlanner(always_answering), HttpConfig(max_body_bytes=5000)) as server:

        def endless() -> Iterator[bytes]:
            while not server.count("requests_total", endpoint="chat", outcome="413"):
                yield b" " * 1000

        response = server.client.post(CHAT, content=endless())
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        eventually(lambda: server.count("requests_in_flight", endpoint="chat") == 0)
        assert server.post().status_code == 200


def test_a_body_that_does_not_come_is_given_up() -> None:
    with serving(ScriptedPlanner(always_answering), HttpConfig(body_timeout_s=0.1)) as server:
        assert status_before_the_body(server, 100) == 408


# --- load ------------------------------------------------------------------------------------------------------------


class Gated(ScriptedPlanner):
    """Answers when it is told to. `working` are the ids of the questions it has, in order."""

    def __init__(self) -> None:
        super().__init__(always_answering)
        self.gate = threading.Event()
        self.working: list[str] = []

    async def rollout(self, question: str, options: Mapping[str, Any], request_id: str) -> Rollout:
        self.working.append(request_id)
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        return await super().rollout(question, options, request_id)


def test_a_burst_beyond_the_bounds_is_refused_at_once() -> None:
    planner = Gated()
    http = HttpConfig(max_requests=2, max_queued=3, retry_after_s=7)
    with serving(planner, http) as server, ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(server.post) for _ in range(20)]
        eventually(lambda: sum(each.done() for each in asked) == 15)
        for refused in (each.result() for each in asked if each.done()):
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
            assert refused.json()["error"]["code"] == "overloaded"
        assert len(planner.working) == 2
        assert status_before_the_body(server, 1000) == 503
        assert server.get("/health").status_code == 200
        planner.gate.set()
        assert sorted({each.result().status_code for each in asked}) == [200, 503]
        eventually(lambda: server.count("requests_in_flight", endpoint="chat") == 0)
        assert server.count("requests_refused_total", reason="queue_full") == 16
        assert server.count("requests_queued") == 0


def test_clients_take_turns(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("greedy:sk-1\nmodest:sk-2\n")
    planner = Gated()
    with serving(planner, HttpConfig(keys_file=keys, max_requests=1)) as server, ThreadPoolExecutor(20) as pool:

        def ask(name: str, key: str) -> None:
            pool.submit(server.post, headers={"x-request-id": name, "authorization": f"Bearer {key}"})

        for number in range(10):
            ask(f"greedy-{number}", "sk-1")
        eventually(lambda: server.count("requests_queued") == 9)
        ask("modest", "sk-2")
        eventually(lambda: server.count("requests_queued") == 10)
        planner.gate.set()
        eventually(lambda: len(planner.working) == 11)
        assert planner.working.index("modest") <= 2


# --- clients that go away --------------------------------------------------------------------------------------------


@pytest.fixture
def slow() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering, token_s=SLOW), HttpConfig(max_requests=1)) as server:
        yield server


async def _leave(server: ApiServer, path: str, until: Any, **values: Any) -> None:
    """Asks, and hangs up once `until()` holds."""
    body = (PROMPTED | {"max_tokens": 2000} if path == COMPLETIONS else ASKED) | values
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        asked = asyncio.create_task(client.post(path, json=body))
        async with asyncio.timeout(20):
            while not until():
                await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("values", [{}, {"stream": True}, {"n": 3}, {"n": 3, "stream": True}])
def test_who_goes_away_takes_everything_along(slow: ApiServer, path: str, values: dict[str, Any]) -> None:
    asyncio.run(_leave(slow, path, lambda: slow.planner.llm.running > 0, **values))
    eventually(lambda: slow.planner.llm.running == 0)
    assert not all(call.finished for call in slow.planner.llm.calls), "it had been answered before"
    eventually(lambda: slow.count("requests_disconnected_total") == 1)
    endpoint = "chat" if path == CHAT else "completions"
    eventually(lambda: slow.count("requests_in_flight", endpoint=endpoint) == 0)


def test_who_goes_away_in_the_queue_leaves_it() -> None:
    planner = Gated()
    with serving(planner, HttpConfig(max_requests=1)) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.post)
        eventually(lambda: len(planner.working) == 1)
        asyncio.run(_leave(server, CHAT, lambda: server.count("requests_queued") == 1))
        eventually(lambda: server.count("requests_queued") == 0)
        eventually(lambda: server.count("requests_disconnected_total") == 1)
        planner.gate.set()
        assert first.result().status_code == 200
        assert len(planner.working) == 1


# --- traces ----------------------------------------------------------------------------------------------------------


def test_a_question_is_traced_from_its_arrival_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[tuple[Request, int]] = []

    class Recorder:
        def record(self, request: Request, rollouts: list[Rollout]) -> None:
            traced.append((request, len(rollouts)))

        def shutdown(self) -> None:
            traced.clear()

    monkeypatch.setattr("serve_app.api.ingress.from_environment", lambda _: Recorder())
    with serving(ScriptedPlanner(always_answering)) as server:
        server.post(n=2, headers={"x-request-id": "mine", "traceparent": "a-parent"})
        eventually(lambda: len(traced) == 1)
        request, rollouts = traced[0]
        assert (request.id, request.path, request.status, rollouts) == ("mine", CHAT, 200, 2)
        assert request.started_ns <= request.work_ns <= request.ended_ns
        assert request.headers["traceparent"] == "a-parent"
        server.get("/health")
        server.post(temperature=-1)
        eventually(lambda: len(traced) == 2)
        assert (traced[1][0].status, traced[1][0].work_ns, traced[1][1]) == (400, 0, 0)
    assert traced == [], "what was left has not been sent"
