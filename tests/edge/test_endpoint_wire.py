"""What the chat endpoint's client sends and reads, and what its check says before anything is sent."""

from __future__ import annotations

import asyncio
import gzip
import traceback
from typing import Any

import pytest

from pipelines.endpoint.client import Endpoint, EndpointRefused
from pipelines.endpoint.config import Structured
from pipelines.endpoint.limit import limited_client
from pipelines.endpoint.wire import Failure
from sprint.requests import RequestFailed
from tests.edge.asking import KEY_NAME, asking, configured, question, running
from tests.edge.misbehaving import MODEL, Fault, Faults, MisbehavingServer, closed_url

KEY = "sk-entirely-invented-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_NAME, KEY)


# --- what is sent ---------------------------------------------------------------------------------------------------


def formats(server: MisbehavingServer) -> list[str | None]:
    return [(asked.body.get("response_format") or {}).get("type") for asked in server.log]


@pytest.mark.parametrize(
    ("refused", "sent"),
    [
        ((), ["json_schema", "json_schema"]),
        (("json_schema",), ["json_schema", "json_object", "json_object"]),
        (("json_schema", "json_object"), ["json_schema", "json_object", None, None]),
    ],
)
def test_structured_output_falls_back_once_for_all(refused: tuple[str, ...], sent: list[str | None]) -> None:
    async def work(client: Endpoint) -> None:
        for number in range(2):
            assert (await client.ask(question(number, schema={"type": "object"}))).text == f"question {number}"
        assert client.failures.total() == client.failures[Failure.UNSUPPORTED] == len(refused)

    with MisbehavingServer(refuses=refused) as server:
        running(configured(server.url, max_attempts=1), work)
    assert formats(server) == sent


def test_structured_output_that_was_asked_for_does_not_fall_back() -> None:
    async def work(client: Endpoint) -> None:
        with pytest.raises(RequestFailed, match="json_schema"):
            await client.ask(question(schema={"type": "object"}))

    with MisbehavingServer(refuses=("json_schema",)) as server:
        running(configured(server.url, structured=Structured.JSON_SCHEMA), work)
    assert formats(server) == ["json_schema"]


def test_many_requests_at_once_survive_the_fallback() -> None:
    async def work(client: Endpoint) -> None:
        await asyncio.gather(*(client.ask(question(number, schema={"type": "object"})) for number in range(32)))

    with MisbehavingServer(refuses=("json_schema", "json_object"), latency_s=0.05) as server:
        running(configured(server.url, max_attempts=1), work)
    assert formats(server).count(None) == 32


def test_a_model_that_only_knows_newer_fields_is_asked_in_them() -> None:
    with MisbehavingServer(refuses=("max_tokens", "temperature")) as server:
        replies, failures = running(configured(server.url, max_attempts=1), asking(1))
    assert replies[0].text == "question 0"
    assert failures == {"unsupported": 2}
    assert server.log[-1].body["max_completion_tokens"] == 64


def test_the_body_says_what_was_configured() -> None:
    options: dict[str, Any] = {
        "extra": {"reasoning_effort": "low", "temperature": None},
        "seed": 5,
        "headers": {"X-Team": "maths"},
    }
    with MisbehavingServer() as server:
        running(configured(server.url, **options), asking(1))
    body = dict(server.log[0].body)
    assert body.pop("messages") == [{"role": "user", "content": "question 0"}]
    assert body == {"model": MODEL, "max_tokens": 64, "seed": 5, "reasoning_effort": "low"}
    assert server.log[0].headers["X-Team"] == "maths"


def test_the_key_goes_to_the_server_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: Endpoint) -> str:
        with pytest.raises(EndpointRefused) as caught:
            await client.ask(question())
        assert "wrong key: Bearer ***" in str(caught.value)  # the server repeated it
        return "".join(traceback.format_exception(caught.value)) + repr(client) + repr(client.config)

    with MisbehavingServer(api_key="another", refuses=("temperature",)) as server, caplog.at_level("DEBUG"):
        said = running(configured(server.url), work)
    assert server.log[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in said + caplog.text


def test_without_a_key_no_authorization_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_NAME)
    with MisbehavingServer() as server:
        running(configured(server.url), asking(1))
    assert "Authorization" not in server.log[0].headers


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [None, 0, 1])
def test_cached_tokens_are_what_was_reported_or_nothing(cached: int | None) -> None:
    with MisbehavingServer(cached_tokens=cached) as server:
        [reply], _ = running(configured(server.url), asking(1))
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.output_tokens) == (2, cached, 2)


def test_without_usage_the_tokens_are_none_at_all() -> None:
    with MisbehavingServer(usage=False) as server:
        [reply], _ = running(configured(server.url), asking(1))
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.output_tokens) == (0, None, 0)


def test_tokens_of_failed_attempts_are_paid_for() -> None:
    with MisbehavingServer(
        faults=Faults(script=(Fault.NO_CONTENT, Fault.EMPTY_BODY, Fault.ERROR_IN_200)), cached_tokens=1
    ) as server:
        [reply], _ = running(configured(server.url), asking(1))
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.num_failures) == (4, 2, 3)


@pytest.mark.parametrize(("finish", "truncated"), [("stop", False), ("length", True)])
def test_a_cut_off_reply_says_so(finish: str, truncated: bool) -> None:
    with MisbehavingServer(finish_reason=finish) as server:
        [reply], _ = running(configured(server.url), asking(1))
    assert reply.truncated is truncated


# --- checking first -------------------------------------------------------------------------------------------------


async def checked(client: Endpoint) -> None:
    await client.check()


@pytest.mark.parametrize("fault", [None, Fault.SERVER_ERROR, Fault.SPENT])
def test_a_check_passes_where_questions_would_be_answered(fault: Fault | None) -> None:
    with MisbehavingServer(faults=Faults(script=(fault,))) as server:
        running(configured(server.url), checked)
    assert len(server.log) >= 1


def test_a_check_names_the_served_models() -> None:
    with MisbehavingServer() as server, pytest.raises(EndpointRefused, match=f"model 'gpt-x', but: {MODEL}, other"):
        running(configured(server.url, model="gpt-x"), checked)


def test_a_check_needs_no_list_of_models() -> None:
    server = MisbehavingServer(lists_models=False)
    with server, pytest.raises(EndpointRefused, match=r"answered 404.*does it serve 'gpt-x'"):
        running(configured(server.url, model="gpt-x"), checked)


def test_a_check_names_the_variable_of_a_wrong_key() -> None:
    with MisbehavingServer(api_key="another") as server, pytest.raises(EndpointRefused, match=r"\$ENDPOINT_TEST_KEY"):
        running(configured(server.url), checked)


def test_a_check_says_that_nobody_listens() -> None:
    with pytest.raises(EndpointRefused, match="cannot be reached"):
        running(configured(closed_url()), checked)


# --- how much is read -----------------------------------------------------------------------------------------------


def test_a_body_without_end_is_not_read_to_its_end() -> None:
    with MisbehavingServer(faults=Faults(script=(Fault.FLOOD,))) as server:
        replies, failures = running(configured(server.url), asking(1))
        assert replies[0].text == "question 0"
        assert failures == {"bad_body": 1}
        assert server.flooded_bytes < 64 << 20


@pytest.mark.parametrize("status", [200, 400])
def test_what_grows_when_it_is_unpacked_is_cut_too(status: int) -> None:
    packed = gzip.compress(b"[" * (64 << 20), compresslevel=9)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        writer.write(head.encode() + packed)
        await writer.drain()
        writer.close()

    async def work() -> int:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = limited_client(1000)
        async with server:
            response = await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", content=b"{}")
        await client.aclose()
        assert response.status_code == status
        assert "content-encoding" not in response.headers
        return len(response.content)

    assert asyncio.run(work()) == 1001
