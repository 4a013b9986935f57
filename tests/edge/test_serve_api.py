"""The HTTP API as clients meet it: official clients, answers, streams and what goes wrong in them, over real sockets.

The planner runs the real engine over a scripted model; Ray has no part in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import pytest

from serve_app.api.http_config import HttpConfig
from sprint.errors import LLMUnavailable
from sprint.events import Delta, Event, Part
from sprint.types import Rollout
from tests.edge.api_server import (
    ASKED,
    CHAT,
    COMPLETIONS,
    ApiServer,
    eventually,
    pieces_of,
    serving,
    told,
)
from tests.scripted_planner import ScriptedPlanner
from tests.scripts import always_answering

ANSWER = "The larger is \\boxed{4}."


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering)) as server:
        yield server


# --- the official client ---------------------------------------------------------------------------------------------


def test_the_official_client_gets_an_answer(server: ApiServer) -> None:
    from openai import OpenAI

    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(**ASKED, n=2, stop=["boxed"])
        assert [choice.message.content for choice in answer.choices] == ["The larger is \\"] * 2
        assert answer.usage.completion_tokens == answer.model_extra["sprint"]["usage"]["generated_tokens"]
        text = client.completions.create(model="m", prompt=["a", "b"], max_tokens=4, echo=True)
        assert [choice.text for choice in text.choices] == ["a<Pla", "b<Pla"]
        assert [model.id for model in client.models.list()] == ["m"]
        assert client.models.retrieve("m").id == "m"


def test_the_official_client_streams(server: ApiServer) -> None:
    from openai import OpenAI

    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert "".join(delta.content or "" for delta in deltas) == ANSWER
        assert chunks[-1].usage.completion_tokens > 0
        texts = client.completions.create(model="m", prompt="a", max_tokens=5, stream=True)
        assert "".join(chunk.choices[0].text for chunk in texts) == "<Plan"


def test_the_official_client_asks_many_at_once(server: ApiServer) -> None:
    from openai import AsyncOpenAI

    async def ask() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(8)))

    assert {answer.choices[0].message.content for answer in asyncio.run(ask())} == {ANSWER}


def test_an_evaluation_harness_is_understood(server: ApiServer) -> None:
    """What lm-evaluation-harness sends for tasks of generation, batches of token ids and its stop strings included."""
    asked = {"max_tokens": 256, "temperature": 0, "seed": 1234}
    until = ["Question:", "</s>", "<|im_end|>"]
    batch = server.post(COMPLETIONS, prompt=[[1, 2, 3], [4, 5]], stop=until, **asked)
    assert [choice["index"] for choice in batch.json()["choices"]] == [0, 1]
    assert server.post(COMPLETIONS, prompt=["a", "b"], stop=until, **asked).status_code == 200
    assert server.post(CHAT, stop=until[:4], **asked).json()["choices"][0]["message"]["content"] == ANSWER
    likelihood = server.post(COMPLETIONS, logprobs=1, echo=True, max_tokens=1, temperature=0, seed=1)
    assert (likelihood.status_code, likelihood.json()["error"]["param"]) == (400, "logprobs")


# --- answers ---------------------------------------------------------------------------------------------------------


def test_several_answers_have_seeds_of_their_own_and_one_sum(server: ApiServer) -> None:
    server.planner.asked.clear()
    answer = server.post(n=3, seed=7, headers={"x-request-id": "mine"}).json()
    names = {name: options["seed"] for name, options in server.planner.asked}
    assert set(names) == {"mine", "mine.1", "mine.2"}
    assert names["mine"] == 7, "the first is the one that n = 1 would give"
    assert len(set(names.values())) == 3
    each = [choice["usage"]["generated_tokens"] for choice in answer["sprint"]["choices"]]
    assert answer["usage"]["completion_tokens"] == answer["sprint"]["usage"]["generated_tokens"] == sum(each)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]


def test_several_streamed_answers_are_told_side_by_side(server: ApiServer) -> None:
    whole = server.post(n=2).json()
    pieces = pieces_of(server.post(n=2, stream=True).text)
    for choice in whole["choices"]:
        assert told(pieces, "content", choice["index"]) == choice["message"]["content"]
        assert told(pieces, "reasoning_content", choice["index"]) == choice["message"]["reasoning_content"]
    order = [piece["choices"][0]["index"] for piece in pieces]
    assert order != sorted(order), "one after the other"
    assert [piece["usage"] for piece in pieces if "usage" in piece] == [whole["usage"]]
    assert "usage" in pieces[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_cuts_the_answer_and_not_the_reasoning(server: ApiServer, stream: bool) -> None:
    response = server.post(stop=["\\boxed", "nowhere"], stream=stream)
    if stream:
        pieces = pieces_of(response.text)
        content, reasoning = told(pieces, "content"), told(pieces, "reasoning_content")
        finish = pieces[-1]["choices"][0]["finish_reason"]
    else:
        choice = response.json()["choices"][0]
        content, reasoning = choice["message"]["content"], choice["message"]["reasoning_content"]
        finish = choice["finish_reason"]
    assert (content, finish) == ("The larger is ", "stop")
    assert ANSWER in reasoning


@pytest.mark.parametrize("stream", [False, True])
def test_raw_text_ends_where_a_stop_string_begins(stream: bool) -> None:
    with serving(ScriptedPlanner(lambda _: "one two END three")) as server:
        response = server.post(COMPLETIONS, stop="END", max_tokens=100, stream=stream)
    if stream:
        pieces = pieces_of(response.text)
        assert (told(pieces, "text"), pieces[-1]["choices"][0]["finish_reason"]) == ("one two ", "stop")
    else:
        assert response.json()["choices"][0] == {
            "index": 0,
            "text": "one two ",
            "finish_reason": "stop",
            "logprobs": None,
        }
        assert response.json()["usage"]["completion_tokens"] == len("one two END")


# --- requests and their ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a-b_c.D9", "x" * 64])
def test_a_request_keeps_its_own_id(server: ApiServer, given: str) -> None:
    server.planner.asked.clear()
    assert server.post(headers={"x-request-id": given}).headers["x-request-id"] == given
    assert [name for name, _ in server.planner.asked] == [given]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a/b", "é".encode("latin-1").decode("latin-1")])
def test_an_id_that_is_none_is_replaced(server: ApiServer, given: str) -> None:
    response = server.client.get("/v1/models", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert len(response.headers["x-request-id"]) == 32
    assert server.get("/nowhere").headers["x-request-id"]


def test_what_happens_is_counted(server: ApiServer) -> None:
    before = server.count("requests_total", endpoint="chat", outcome="answered")
    server.post()
    eventually(lambda: server.count("requests_total", endpoint="chat", outcome="answered") == before + 1)
    server.post(temperature=-1)
    eventually(lambda: server.count("requests_total", endpoint="chat", outcome="400") > 0)
    server.post(COMPLETIONS)
    eventually(lambda: server.count("requests_total", endpoint="completions", outcome="completed") > 0)
    eventually(lambda: server.count("requests_in_flight", endpoint="chat") == 0)
    assert "sprint_requests_total" in server.get("/metrics").text


# --- what goes wrong on the way --------------------------------------------------------------------------------------


def breaking_off(context: str) -> str:
    """Plans, and then the engine is gone."""
    if "<Execution_1>" in context:
        raise LLMUnavailable("the engine is gone")
    return always_answering(context)


def test_a_stream_that_breaks_off_keeps_what_was_written() -> None:
    with serving(ScriptedPlanner(breaking_off)) as server:
        *pieces, error = pieces_of(server.post(stream=True).text)
        assert "</Execution_1>" in told(pieces, "reasoning_content")
        assert error["error"]["message"] == "the engine failed: the engine is gone"
        assert error["error"]["code"] == "unavailable"
        assert error["sprint"]["usage"]["generated_tokens"] > 0
        whole = server.post()
        assert (whole.status_code, whole.headers["retry-after"]) == (503, "1")


class Breaking(ScriptedPlanner):
    """Says something, and then fails in a way that nobody foresaw."""

    def __init__(self, before: list[Event]) -> None:
        super().__init__(always_answering)
        self.before = before

    async def rollout(self, question: str, options: Mapping[str, Any], request_id: str) -> Rollout:
        raise RuntimeError("a secret")

    async def events(
        self, question: str, options: Mapping[str, Any], request_id: str
    ) -> AsyncGenerator[list[Event], None]:
        for event in self.before:
            yield [event]
        raise RuntimeError("a secret")


def test_an_error_that_nobody_foresaw_ends_the_stream_properly_and_tells_no_secret() -> None:
    with serving(Breaking([Delta(Part.PLAN, 1, 0, "a plan")])) as server:
        *pieces, error = pieces_of(server.post(stream=True).text)
        assert told(pieces, "reasoning_content").endswith("a plan")
        assert "secret" not in str(error)
        assert error["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_nobody_foresaw_is_a_500_and_tells_no_secret(stream: bool) -> None:
    with serving(Breaking([])) as server:
        response = server.post(stream=stream, headers={"x-request-id": "mine"})
        assert (response.status_code, response.headers["x-request-id"]) == (500, "mine")
        assert response.json()["error"]["type"] == "server_error"
        assert "secret" not in response.text
        eventually(lambda: server.count("requests_total", endpoint="chat", outcome="500") == 1)


def test_a_silent_stream_shows_signs_of_life() -> None:
    class Silent(ScriptedPlanner):
        async def events(
            self, question: str, options: Mapping[str, Any], request_id: str
        ) -> AsyncGenerator[list[Event], None]:
            await asyncio.sleep(0.5)
            async for batch in super().events(question, options, request_id):
                yield batch

    with serving(Silent(always_answering), HttpConfig(keep_alive_s=0.1)) as server:
        text = server.post(stream=True).text
        assert ": still at work\n\n" in text
        assert told(pieces_of(text), "content") == ANSWER
