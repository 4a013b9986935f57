"""Bad requests and the one sentence that each is answered with, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serve_app.api.http_config import HttpConfig
from tests.edge.api_server import CHAT, COMPLETIONS, ApiServer, serving
from tests.scripted_planner import CONTEXT_TOKENS, ScriptedPlanner
from tests.scripts import always_answering


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering), HttpConfig(max_choices=4, max_body_bytes=100_000)) as server:
        yield server


def messages(*contents: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for content in contents]


# What is wrong: the request's fields, the status, the parameter that is named, and the sentence or its beginning.
CHAT_TABLE: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "unknown model": ({"model": "x"}, 404, "model", "the model 'x' is not served here, expected 'm'"),
    "no model": ({"model": None}, 400, "model", "request: 'model' is None: input should be a valid string"),
    "empty model": ({"model": ""}, 400, "model", "request: 'model' is '': string should have at least 1 character"),
    "no messages": ({"messages": []}, 400, "messages", "'messages' holds 0 user and 0 system messages, expected one"),
    "messages of text": ({"messages": "q"}, 400, "messages", "request: 'messages' is 'q': input should be a valid"),
    "a message of text": ({"messages": ["q"]}, 400, "messages[0]", "messages[0] is 'q', expected an object with role"),
    "two questions": ({"messages": messages("a", "b")}, 400, "messages", "'messages' holds 2 user and 0 system"),
    "an earlier answer": (
        {"messages": messages("a", role="assistant")},
        400,
        "messages[0].role",
        "messages[0].role is 'assistant', expected 'system' or 'user'",
    ),
    "no role": ({"messages": [{"content": "q"}]}, 400, "messages[0].role", "messages[0].role is None, expected"),
    "no content": ({"messages": [{"role": "user"}]}, 400, "messages[0].content", "messages[0].content is None"),
    "an image": (
        {"messages": messages([{"type": "image_url", "image_url": {"url": "x"}}])},
        400,
        "messages[0].content",
        "messages[0].content holds a part that is not text, expected parts of type 'text' only",
    ),
    "an empty question": ({"messages": messages(" ")}, 400, "messages", "the user message in 'messages' is empty"),
    "a long question": ({"messages": messages("x" * 5000)}, 400, "messages", "the question takes"),
    "cold": ({"temperature": -0.1}, 400, "temperature", "request: 'temperature' is -0.1: input should be greater"),
    "hot": ({"temperature": 2.1}, 400, "temperature", "request: 'temperature' is 2.1: input should be less than"),
    "temperature in words": ({"temperature": "hot"}, 400, "temperature", "request: 'temperature' is 'hot': input"),
    "no mass": ({"top_p": 0}, 400, "top_p", "request: 'top_p' is 0: input should be greater than 0"),
    "too much mass": ({"top_p": 1.1}, 400, "top_p", "request: 'top_p' is 1.1: input should be less than or equal to 1"),
    "no answers": ({"n": 0}, 400, "n", "request: 'n' is 0: input should be greater than or equal to 1"),
    "many answers": ({"n": 5}, 400, "n", "5 answers are asked for, expected at most 4 for one request"),
    "half an answer": ({"n": 1.5}, 400, "n", "request: 'n' is 1.5: input should be a valid integer"),
    "no tokens": ({"max_tokens": 0}, 400, "max_tokens", "request: 'max_tokens' is 0: input should be greater"),
    "no completion tokens": ({"max_completion_tokens": -1}, 400, "max_completion_tokens", "request: 'max_completion"),
    "a big seed": ({"seed": 2**63}, 400, "seed", "request: 'seed' is 9223372036854775808: input should be less than"),
    "stop at a number": ({"stop": 3}, 400, "stop", "request: 'stop' is 3: expected a string or a list of strings"),
    "stop at numbers": ({"stop": ["a", 3]}, 400, "stop", "request: 'stop' is ['a', 3]: expected a string or a list"),
    "stop anywhere": ({"stop": ["a"] * 33}, 400, "stop", "request: 'stop' is ['a', 'a'"),
    "probabilities": ({"logprobs": True}, 400, "logprobs", "'logprobs' is True, expected false: an answer is sampled"),
    "more of them": ({"top_logprobs": 2}, 400, "top_logprobs", "'top_logprobs' is 2, expected 0: an answer is"),
    "tools": ({"tools": [{}]}, 400, "tools", "'tools' is [{}], expected []: the models were never taught to call"),
    "a tool": ({"tool_choice": "required"}, 400, "tool_choice", "'tool_choice' is 'required', expected \"none\""),
    "a grammar": (
        {"response_format": {"type": "json_object"}},
        400,
        "response_format",
        "'response_format' is {'type': 'json_object'}, expected {\"type\": \"text\"}: answers are not held",
    ),
    "a penalty": ({"presence_penalty": 1}, 400, "presence_penalty", "'presence_penalty' is 1, expected 0: tokens are"),
    "biased": ({"logit_bias": {"1": 2}}, 400, "logit_bias", "'logit_bias' is {'1': 2}, expected {}"),
    "effort": ({"reasoning_effort": "high"}, 400, "reasoning_effort", "'reasoning_effort' is 'high', expected"),
    "sound": ({"modalities": ["audio"]}, 400, "modalities", "'modalities' is ['audio'], expected [\"text\"]"),
    "unknown parameter": ({"top_k": 5}, 400, "top_k", "request: unknown key 'top_k', expected one of: max_completion"),
    "unknown option": ({"sprint": {"speed": 9}}, 400, "sprint.speed", "request: unknown key 'sprint.speed', expected"),
    "unknown mode": ({"sprint": {"mode": "fast"}}, 400, "sprint.mode", "request: 'sprint.mode' is 'fast': input"),
    "no rounds": ({"sprint": {"max_rounds": 0}}, 400, "sprint.max_rounds", "request: 'sprint.max_rounds' is 0: input"),
    "no quorum": ({"sprint": {"quorum": 0}}, 400, "sprint.quorum", "request: 'sprint.quorum' is 0: input should be"),
    "no time": ({"sprint": {"time_limit_s": 0}}, 400, "sprint.time_limit_s", "request: 'sprint.time_limit_s' is 0"),
    "options in words": ({"sprint": "fast"}, 400, "sprint", "request: 'sprint' is 'fast': input should be"),
    "options that do not go together": (
        {"sprint": {"carry_on": True, "view": "whole_plan"}},
        400,
        "carry_on",
        "carry_on goes with view 'prefix', and view is 'whole_plan'",
    ),
    "a stream in words": ({"stream": "maybe"}, 400, "stream", "request: 'stream' is 'maybe': input should be a valid"),
    "stream options": ({"stream_options": 3}, 400, "stream_options", "request: 'stream_options' is 3: input"),
}
COMPLETION_TABLE: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no prompt": ({"prompt": None}, 400, "prompt", "request: 'prompt' is None: expected text or token ids"),
    "an empty prompt": ({"prompt": ""}, 400, "prompt", "request: 'prompt' is '': expected text or token ids"),
    "no prompts": ({"prompt": []}, 400, "prompt", "request: 'prompt' is []: expected text or token ids"),
    "mixed": ({"prompt": ["a", 1]}, 400, "prompt", "request: 'prompt' is ['a', 1]: expected text or token ids"),
    "below zero": ({"prompt": [-1]}, 400, "prompt", "request: 'prompt' is [-1]: expected text or token ids"),
    "no such id": ({"prompt": [70_000]}, 400, "prompt", "a token id of the prompt is above 255"),
    "many prompts": ({"prompt": ["a"] * 5}, 400, "n", "5 answers are asked for, expected at most 4 for one request"),
    "echo of ids": ({"prompt": [1], "echo": True}, 400, "echo", "'echo' is true, which is only supported for prompts"),
    "probabilities": ({"logprobs": 1}, 400, "logprobs", "'logprobs' is 1, expected null: the engines report no"),
    "the best of many": ({"best_of": 3}, 400, "best_of", "'best_of' is 3, expected 1: every answer that is sampled"),
    "a suffix": ({"suffix": "end"}, 400, "suffix", "'suffix' is 'end', expected \"\": text is continued, not filled"),
    "rounds": ({"sprint": {}}, 400, "sprint", "request: unknown key 'sprint', expected one of: echo, max_tokens"),
    "messages": ({"messages": []}, 400, "messages", "request: unknown key 'messages', expected one of: echo"),
}


def expect(response: httpx.Response, status: int, parameter: str, sentence: str) -> None:
    error = response.json()["error"]
    assert error["message"].startswith(sentence)
    assert (response.status_code, error["param"] or "") == (status, parameter)
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]
    assert len(error["message"]) < 700


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", CHAT_TABLE)
def test_a_bad_question_is_told_what_is_wrong_with_it(server: ApiServer, name: str, stream: bool) -> None:
    values, *expected = CHAT_TABLE[name]
    expect(server.post(CHAT, **{"stream": stream} | values), *expected)


@pytest.mark.parametrize("name", COMPLETION_TABLE)
def test_a_bad_prompt_is_told_what_is_wrong_with_it(server: ApiServer, name: str) -> None:
    values, *expected = COMPLETION_TABLE[name]
    expect(server.post(COMPLETIONS, **values), *expected)


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the request body is not JSON: Expecting value"),
    "half an object": (b'{"model": ', "the request body is not JSON: Expecting value"),
    "no object": (b"[]", "the request body is a JSON list, expected an object"),
    "no text": (b"\xff\xfe{}", "the request body is not JSON: 'utf-8' codec can't decode"),
    "no number": (b'{"temperature": NaN}', "the request body is not JSON: NaN is not a JSON number"),
    "a long number": (b'{"seed": ' + b"9" * 5000 + b"}", "the request body is not JSON: Exceeds the limit"),
    "half a character": (
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        "the request body holds half of a surrogate pair",
    ),
    "depth": (b"[" * 90_000, "the request body is not JSON: "),
}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_object_is_told_so(server: ApiServer, name: str, path: str) -> None:
    body, sentence = BODIES[name]
    expect(server.client.post(path, content=body), 400, "", sentence)


@pytest.mark.parametrize(
    ("verb", "path", "status", "sentence"),
    [
        ("GET", "/v1/embeddings", 404, "GET /v1/embeddings: Not Found"),
        ("GET", CHAT, 405, "GET /v1/chat/completions: Method Not Allowed"),
        ("POST", "/health", 405, "POST /health: Method Not Allowed"),
        ("GET", "/v1/models/x/y", 404, "the model 'x/y' is not served here, expected 'm'"),
    ],
)
def test_a_wrong_path_or_method_is_told_so(server: ApiServer, verb: str, path: str, status: int, sentence: str) -> None:
    response = server.client.request(verb, path)
    assert (response.status_code, response.json()["error"]["message"]) == (status, sentence)
    assert (response.headers.get("allow") is None) == (status != 405)


def test_nothing_of_a_bad_request_reaches_the_planner(server: ApiServer) -> None:
    before = len(server.planner.asked)
    for name in ("cold", "unknown parameter", "unknown model", "two questions"):
        server.post(CHAT, **CHAT_TABLE[name][0])
    assert len(server.planner.asked) == before


def test_the_tables_are_not_short() -> None:
    assert len(CHAT_TABLE) + len(COMPLETION_TABLE) + len(BODIES) > 60
    assert CONTEXT_TOKENS < 5000
