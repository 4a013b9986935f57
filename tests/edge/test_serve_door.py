"""Clients that are up to no good, or no good at being clients: slow or foreign ones, and ids that are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.api.http_config import HttpConfig
from serve_app.api.ingress import Served, api
from serve_app.observe.metrics import Metrics
from sprint.card import Method
from tests.edge.api_server import (
    ASKED,
    CHAT,
    COMPLETIONS,
    ApiServer,
    begun,
    eventually,
    serving,
    status_before_the_body,
)
from tests.scripted_planner import ScriptedPlanner
from tests.scripts import always_answering

PATHS = [CHAT, COMPLETIONS]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering)) as server:
        yield server


# --- slow bodies -----------------------------------------------------------------------------------------------------


def test_slow_bodies_of_one_client_keep_no_other_out(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("greedy:sk-1\nmodest:sk-2\n")
    http = HttpConfig(keys_file=keys, max_requests=2, max_queued=4)
    with serving(ScriptedPlanner(always_answering), http) as server, ExitStack() as connections:
        slow = [begun(server, CHAT, b"{", 100, "Authorization: Bearer sk-1") for _ in range(6)]
        for connection in slow:
            connections.enter_context(connection)
        eventually(lambda: server.count("requests_in_flight", endpoint="chat") == 6)
        assert server.post(headers={"authorization": "Bearer sk-1"}).status_code == 503
        assert server.post(headers={"authorization": "Bearer sk-2"}).status_code == 200
        eventually(lambda: server.count("requests_in_flight", endpoint="chat") == 5)
        assert server.count("requests_refused_total", reason="queue_full") == 2, "one of them made room"


# --- pages elsewhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_a_page_elsewhere_cannot_put_the_server_to_work(server: ApiServer, path: str, origin: str) -> None:
    before = len(server.planner.asked)
    headers = {"origin": origin, "content-type": "text/plain"}  # for which browsers ask nobody's leave
    refused = server.client.post(path, content=json.dumps(ASKED), headers=headers)
    message = refused.json()["error"]["message"]
    assert refused.status_code == 403
    assert message.startswith(f"POST {path}: pages of '{origin}' may not ask here, expected this server's own pages")
    assert len(server.planner.asked) == before


def test_a_page_elsewhere_is_refused_before_its_body_is_read(server: ApiServer) -> None:
    with begun(server, CHAT, b"", 1000, "Origin: http://evil.example") as connection:
        assert connection.recv(1000).split()[1] == b"403"


@pytest.mark.parametrize("path", PATHS)
def test_the_servers_own_page_and_pages_that_are_named_may_ask(server: ApiServer, path: str) -> None:
    assert server.post(path, headers={"origin": server.url}).status_code == 200
    behind_tls = {"origin": "https://Own.example", "host": "own.example"}
    assert server.post(path, headers=behind_tls).status_code == 200
    for known, origin, status in [("http://page", "http://page", 200), ("http://page", "http://other", 403)]:
        with serving(ScriptedPlanner(always_answering), HttpConfig(cors_origins=(known,))) as named:
            assert named.post(path, headers={"origin": origin}).status_code == status
    with serving(ScriptedPlanner(always_answering), HttpConfig(cors_origins=("*",))) as everybodys:
        assert everybodys.post(path, headers={"origin": "null"}).status_code == 200


# --- ids behind Ray Serve --------------------------------------------------------------------------------------------


def behind_serve(given: str | None) -> tuple[list[str], list[str]]:
    """The ids that an answer carries behind a proxy that does as Ray Serve's, and those that the planner was told."""
    planner = ScriptedPlanner(always_answering)
    app = api(planner, Served("m", Method.SPRINT), None, Metrics(), behind_serve=True)

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        request_id = headers.setdefault(b"x-request-id", b"made-by-serve")

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        await app(scope | {"headers": list(headers.items())}, receive, sent)

    async def ask() -> httpx.Response:
        headers = {} if given is None else {"x-request-id": given}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(proxy), base_url="http://h") as client:
            return await client.post(CHAT, json=ASKED, headers=headers)

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    return answer.headers.get_list("x-request-id"), [name for name, _ in planner.asked]


@pytest.mark.parametrize("given", [None, "mine"])
def test_behind_serve_an_id_is_told_once(given: str | None) -> None:
    expected = [given or "made-by-serve"]
    assert behind_serve(given) == (expected, expected)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65])
def test_behind_serve_an_id_that_is_none_goes_back_alone_and_the_log_knows_both(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("serve_app.observe.logs.say", lambda *_, **fields: said.append(fields))
    told, (ours,) = behind_serve(given)
    assert told == [given]
    assert ours != given
    assert len(ours) == 32
    assert {"given": given} in said


# --- paths and methods -----------------------------------------------------------------------------------------------


def test_nobody_is_sent_to_another_path(server: ApiServer) -> None:
    for path in PATHS:
        assert server.post(f"{path}/").status_code == 404
    for path in ("/health/", "/ready/", "/v1/models/"):
        assert server.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/v1/models/x", "/health", "/ready"])
def test_who_asks_for_the_head_gets_the_head(server: ApiServer, path: str) -> None:
    head, whole = server.client.head(path), server.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]


def test_the_head_asks_for_a_key_too_and_is_not_in_the_document(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-1\n")
    with serving(ScriptedPlanner(always_answering), HttpConfig(keys_file=keys)) as server:
        assert server.client.head("/v1/models").status_code == 401
        assert server.client.head("/health").status_code == 200
        assert not [verbs for verbs in server.get("/openapi.json").json()["paths"].values() if "head" in verbs]
        assert status_before_the_body(server, 10) == 401
