"""A server elsewhere in place of a pool, over real HTTP: dropped connections, keys, and whether it is there."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from serve_app.config import EndpointConfig
from serve_app.pools.readiness import ReadinessState
from serve_app.pools.remote import RemoteLLM, RemotePool
from sprint.errors import ConfigError, LLMUnavailable
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.steps import free_port
from sprint.tokenizer import ByteTokenizer
from tests.edge.local_server import Handler, LocalServer

TEXT = "twelve bytes and some more"
KEY_NAME = "SERVE_REMOTE_TEST_KEY"


class Fake(Handler):
    """Continues TEXT, one byte an event; drops the connection after five, `drops` times."""

    asked: list[dict[str, Any]]
    keys: list[str]
    drops: int

    def do_GET(self) -> None:  # noqa: N802
        self.keys.append(self.headers.get("Authorization", ""))
        self.send(200, b"{}")

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.body())
        self.asked.append(body)
        dropped = len(self.asked) <= self.drops
        start = len(body["prompt"]) - 1
        rest = TEXT.encode()[start : start + body["max_tokens"]]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, byte in enumerate(rest[:5] if dropped else rest, 1):
            last = number == len(rest)
            self._event({"text": chr(byte), "token_ids": [byte], "finish_reason": "length" if last else None})
        if dropped:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _event(self, choice: dict[str, Any]) -> None:
        data = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    return []


@pytest.fixture(params=[0, 2, 9])
def server(request: pytest.FixtureRequest, asked: list[dict[str, Any]]) -> Iterator[LocalServer]:
    with LocalServer(Fake, asked=asked, keys=[], drops=request.param) as server:
        server.drops = request.param
        yield server


async def stream(llm: RemoteLLM) -> list[Chunk]:
    return [chunk async for chunk in llm.stream([0], Sampling(len(TEXT), 0.0))]


def test_a_call_that_the_server_drops_goes_on_from_what_was_sampled(
    server: LocalServer, asked: list[dict[str, Any]]
) -> None:
    config = EndpointConfig(base_url=f"http://{server.address}/v1", model="m")
    llm = RemoteLLM(config, ByteTokenizer(), pause_s=0.0)
    if server.drops > 3:
        with pytest.raises(LLMUnavailable):
            asyncio.run(stream(llm))
        assert len(asked) == 4
        return
    chunks = asyncio.run(stream(llm))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert chunks[-1].finish_reason is FinishReason.LENGTH
    assert llm.tally.retries == server.drops
    assert all(request["max_tokens"] + len(request["prompt"]) == len(TEXT) + 1 for request in asked)


def test_a_stop_string_that_began_before_the_connection_was_dropped_ends_the_call(asked: list[dict[str, Any]]) -> None:
    async def run(llm: RemoteLLM) -> list[Chunk]:
        return [chunk async for chunk in llm.stream([0], Sampling(len(TEXT), 0.0, stop=("lve b",)))]

    with LocalServer(Fake, asked=asked, keys=[], drops=1) as server:  # which looks for no stop strings at all
        chunks = asyncio.run(
            run(RemoteLLM(EndpointConfig(base_url=f"http://{server.address}", model="m"), ByteTokenizer(), pause_s=0.0))
        )
    assert "".join(chunk.text for chunk in chunks) == "twelve b"
    assert bytes(token_id for chunk in chunks for token_id in chunk.token_ids) == b"twelve b"
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.STOP]
    assert [request["stop"] for request in asked] == [["lve b"]] * 2


def test_whether_the_server_is_there_is_told_and_its_key_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_NAME, "secret")
    keys: list[str] = []
    with LocalServer(Fake, asked=[], keys=keys, drops=0) as server:
        config = EndpointConfig(base_url=f"http://{server.address}", model="m", api_key_env=KEY_NAME)
        assert asyncio.run(RemotePool("planner", config, ByteTokenizer()).readiness()).state is ReadinessState.READY
    assert keys == ["Bearer secret"]
    nowhere = EndpointConfig(base_url=f"http://127.0.0.1:{free_port()}", model="m")
    failed = asyncio.run(RemotePool("planner", nowhere, ByteTokenizer()).readiness())
    assert failed.state is ReadinessState.FAILED
    assert "cannot be reached" in failed.reason


def test_a_missing_key_is_reported_at_the_start() -> None:
    config = EndpointConfig(base_url="http://127.0.0.1:1", model="m", api_key_env="A_KEY_THAT_NOBODY_SET")
    with pytest.raises(ConfigError, match="A_KEY_THAT_NOBODY_SET is not set"):
        RemoteLLM(config, ByteTokenizer())
