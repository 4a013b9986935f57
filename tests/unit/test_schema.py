"""The HTTP door without Ray: requests, answers and streams, over the scripted model."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from serve_app.api.chat_request import parse_request
from serve_app.api.ingress import Served, api
from serve_app.config import AppConfig, check_model_folder, context_window
from serve_app.planner import gathered
from sprint.ask import ask
from sprint.card import Method
from sprint.config import validate
from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.events import Delta, Event, Part, RoundJoined
from sprint.render import trajectory_text
from sprint.scripted import Script
from sprint.tags import prompt
from sprint.types import Execution, Round, Trajectory
from tests.scripted_planner import ScriptedPlanner
from tests.unit.follow import follow

PLAN = f"Two things.\n{prompt(1, 1, 'add 1 and 1')}\n{prompt(1, 2, 'add 2 and 2')}\nThen compare."
TAUGHT = Trajectory(
    (Round(PLAN, (Execution("1 + 1 = 2"), Execution("2 + 2 = 4"))), Round("Nothing is left to do.")),
    "The larger is \\boxed{4}.",
)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "q?"}]}


def client(script: Script | None = None, method: Method = Method.SPRINT) -> TestClient:
    planner = ScriptedPlanner(script or follow(TAUGHT), method)
    return TestClient(api(planner, Served("m", method)), raise_server_exceptions=False)


def post(http: TestClient, **values: Any) -> Any:
    return http.post("/v1/chat/completions", json=ASKED | values)


def chunks_of(response: Any) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert data.pop() == "[DONE]"
    return [json.loads(line) for line in data]


def failing(_: str) -> str:
    raise LLMUnavailable("the engine is gone")


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_has_openais_shape_and_our_counts() -> None:
    answer = post(client(), sprint={"timeline": True}).json()
    message = answer["choices"][0]["message"]
    assert message["content"] == TAUGHT.final_answer
    assert message["reasoning_content"] == trajectory_text(TAUGHT)
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage, counts = answer["usage"], answer["sprint"]["usage"]
    assert usage["completion_tokens"] == counts["generated_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == counts["cached_prompt_tokens"]
    assert (answer["sprint"]["stop_reason"], answer["sprint"]["method"]) == ("answered", "sprint")
    assert len(answer["sprint"]["timeline"]) == counts["num_calls"]


def test_a_limit_is_reported_as_length() -> None:
    assert post(client(), max_tokens=5).json()["choices"][0]["finish_reason"] == "length"


def stubborn(context: str) -> str:
    """Says the same whatever the options made of what it said before."""
    if context.endswith(".1>\n"):
        return "2\n</execution_1.1>"
    if context.endswith("<Final_answer>\n"):
        return "4\n</Final_answer>"
    return "<Final_answer>\n4\n</Final_answer>" if "<Plan_1>" in context else f"<Plan_1>\n{PLAN}\n</Plan_1>"


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (follow(TAUGHT), {}),
        (follow(TAUGHT), {"dispatch": "barrier"}),
        (stubborn, {"max_rounds": 1}),
        (stubborn, {"max_prompts": 1}),
    ],
)
def test_a_streamed_answer_is_the_whole_answer(script: Script, options: dict[str, Any]) -> None:
    expected = post(client(script), sprint=options).json()["choices"][0]
    chunks = chunks_of(post(client(script), stream=True, sprint=options))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == expected["message"]["reasoning_content"]
    assert "".join(delta.get("content", "") for delta in deltas) == expected["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == expected["finish_reason"]
    assert chunks[-1]["sprint"]["stop_reason"] == "answered"


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    *_, finish, usage = chunks_of(post(client(), stream=True, stream_options={"include_usage": True}))
    assert "usage" not in finish
    assert usage["choices"] == []
    assert usage["usage"] == post(client()).json()["usage"]


def test_events_tell_the_rollout_as_it_happens() -> None:
    chunks = chunks_of(post(client(), stream=True, sprint={"events": True}))
    events = [chunk["sprint_event"] for chunk in chunks if "sprint_event" in chunk]
    told = [(e["round"], e["number"], e["instruction"]) for e in events if e["kind"] == "execution_started"]
    assert told == [(1, 1, "add 1 and 1"), (1, 2, "add 2 and 2")]
    second = "".join(e["text"] for e in events if e["kind"] == "delta" and (e["part"], e["number"]) == ("execution", 2))
    assert second.startswith("2 + 2 = 4")
    assert events[-1]["kind"] == "finished"


def test_a_sequential_model_answers_too() -> None:
    answer = post(client(lambda _: "1, 2, 4.\n</think>\n\nIt is 4.", Method.RFT)).json()
    assert answer["choices"][0]["message"]["content"] == "It is 4."
    assert answer["sprint"]["method"] == "rft"


def test_gathered_text_is_kept_apart_by_block_and_in_order() -> None:
    async def source() -> Any:
        for part, number, text in [("plan", 0, "a"), ("execution", 1, "b"), ("plan", 0, "c"), ("execution", 1, "d")]:
            yield Delta(Part(part), 1, number, text)
        yield RoundJoined(1, 1, "e")

    async def collect() -> list[list[Event]]:
        return [batch async for batch in gathered(source(), every_s=60)]

    (batch,) = asyncio.run(collect())
    assert [getattr(event, "text", "") for event in batch] == ["ac", "bd", "e"]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "a"} for role in roles]


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown model": ({"model": "gpt"}, 404, "the model 'gpt' is not served here, expected 'm'"),
    "model of a wrong type": ({"model": 3}, 400, "'model' is 3"),
    "no messages": ({"messages": []}, 400, "0 user and 0 system messages, expected one user message"),
    "messages that are none": ({"messages": "hi"}, 400, "'messages' is 'hi'"),
    "a message that is none": ({"messages": ["hi"]}, 400, "messages[0] is 'hi', expected an object"),
    "two questions": ({"messages": turns("user", "user")}, 400, "2 user"),
    "an earlier answer": ({"messages": turns("user", "assistant", "user")}, 400, "messages[1].role is 'assistant'"),
    "no content": ({"messages": [{"role": "user"}]}, 400, "messages[0].content is None, expected text"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "a part that is not text"),
    "an empty question": ({"messages": [{"role": "user", "content": " "}]}, 400, "expected a question"),
    "negative temperature": ({"temperature": -0.1}, 400, "'temperature' is -0.1"),
    "temperature in words": ({"temperature": "hot"}, 400, "'temperature' is 'hot'"),
    "no mass": ({"top_p": 0}, 400, "'top_p' is 0"),
    "no answers": ({"n": 0}, 400, "'n' is 0"),
    "tools": ({"tools": [{}]}, 400, "'tools' is [{}]"),
    "no tokens": ({"max_tokens": 0}, 400, "'max_tokens' is 0"),
    "unknown parameter": ({"top_k": 5}, 400, "unknown key 'top_k'"),
    "unknown option": ({"sprint": {"speed": 9}}, 400, "unknown key 'sprint.speed'"),
    "unknown dispatch": ({"sprint": {"dispatch": "soon"}}, 400, "'sprint.dispatch' is 'soon'"),
    "no rounds": ({"sprint": {"max_rounds": 0}}, 400, "'sprint.max_rounds' is 0"),
    "too long": ({"messages": [{"role": "user", "content": "x" * 5000}]}, 400, "window holds 4000"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_told_what_is_wrong_with_it(name: str, stream: bool) -> None:
    values, status, part = BAD[name]
    response = post(client(), **values, stream=stream)
    assert response.status_code == status
    error = response.json()["error"]
    assert part in error["message"]
    assert "\n" not in error["message"]
    assert (error["type"], error["param"] is None) == ("invalid_request_error", False)


@pytest.mark.parametrize(("body", "part"), [(b"{", "is not JSON"), (b"[]", "is a JSON list"), (b"\xff", "is not JSON")])
def test_a_body_that_is_no_json_object_is_refused(body: bytes, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_request(body)


def test_an_unknown_path_is_refused_in_openais_shape() -> None:
    response = client().get("/v1/embeddings")
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "GET /v1/embeddings: Not Found"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_before_it_said_anything_is_a_status_and_no_answer(stream: bool) -> None:
    response = post(client(failing), stream=stream)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "the engine is gone" in response.json()["error"]["message"]


def test_parameters_that_change_nothing_are_welcome() -> None:
    answer = post(client(), n=1, user="me", stop=None, presence_penalty=0, response_format={"type": "text"}, seed=3)
    assert answer.status_code == 200


def test_a_system_message_stands_before_the_question() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "q?"}]},
    ]
    assert parse_request(json.dumps({"model": "m", "messages": messages}).encode()).question == "Be brief.\n\nq?"


# --- model folders ---------------------------------------------------------------------------------------------------


def test_a_folder_is_checked_before_anything_starts(tmp_path: Path) -> None:
    for name, missing in [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("m.bin", "no weights"),
    ]:
        with pytest.raises(ConfigError, match=missing):
            check_model_folder(tmp_path)
        (tmp_path / name).write_text("{}")
    check_model_folder(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        check_model_folder(tmp_path / "none")


def test_the_context_window_is_given_or_read_from_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 99}')
    assert context_window(AppConfig(model=tmp_path)) == 99
    assert context_window(AppConfig(model=tmp_path, context_tokens=50)) == 50
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="give context_tokens"):
        context_window(AppConfig(model=tmp_path))


def test_options_given_as_words_are_read_and_checked() -> None:
    assert validate(AppConfig, {"model": "a/b", "max_replicas": "2"}, "arguments").max_replicas == 2
    with pytest.raises(ConfigError, match="unknown key 'replicas'"):
        validate(AppConfig, {"model": "a", "replicas": 2}, "arguments")


# --- sprint ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [False, True])
def test_ask_shows_every_execution_the_answer_and_the_counts(drawn: bool) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=drawn)
    assert ask("q?", "http://testserver", console=console, client=client()) == TAUGHT.final_answer
    shown = console.file.getvalue()
    for part in ("add 1 and 1", "2 + 2 = 4", "The larger is", "2 rounds, 2 executions", "answered"):
        assert part in shown


def test_ask_passes_on_why_it_was_refused() -> None:
    with pytest.raises(InputError, match="is not served here"):
        ask("q?", "http://testserver", "other", console=Console(file=io.StringIO()), client=client())
    with pytest.raises(LLMError, match="the engine is gone"):
        ask("q?", "http://testserver", console=Console(file=io.StringIO()), client=client(failing))
