"""The HTTP door over a scripted planner, on a local port, as uvicorn serves it: no Ray, no model."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from serve_app.api.http_config import HttpConfig
from serve_app.api.ingress import Served, api
from serve_app.api.planner_client import PlannerClient
from serve_app.observe.metrics import Metrics
from sprint.card import Method

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "q?"}]}
PROMPTED: dict[str, Any] = {"model": "m", "prompt": "say"}


@dataclass(frozen=True)
class ApiServer:
    """A server that answers while its context lasts."""

    url: str
    planner: Any
    metrics: Metrics
    client: httpx.Client

    def post(self, path: str = CHAT, headers: dict[str, str] | None = None, **values: Any) -> httpx.Response:
        body = (PROMPTED if path == COMPLETIONS else ASKED) | values
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sprint_{name}", labels) or 0.0


@contextmanager
def serving(planner: PlannerClient, http: HttpConfig | None = None) -> Iterator[ApiServer]:
    metrics = Metrics()
    app = api(planner, Served("m", Method.SPRINT), http, metrics)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield ApiServer(url, planner, metrics, client)
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive(), "the server did not stop"


def eventually(what: Any, seconds: float = 20.0) -> None:
    """Waits until `what()` holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def pieces_of(text: str) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(line) for line in data]


def told(pieces: list[dict[str, Any]], field: str, index: int = 0) -> str:
    choices = [choice for piece in pieces for choice in piece.get("choices", ()) if choice["index"] == index]
    return "".join(choice.get("delta", choice).get(field, "") for choice in choices)


def status_before_the_body(server: ApiServer, length: int) -> int:
    """The status of an answer to a request whose body never comes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode())
        return int(connection.recv(1000).split()[1])


def begun(server: ApiServer, path: str, body: bytes, length: int, *headers: str) -> socket.socket:
    """A connection on which a question has begun: `body`, of `length` bytes that are announced."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(20)
    host, port = server.url.removeprefix("http://").split(":")
    connection.connect((host, int(port)))
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {length}", *headers])
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection
