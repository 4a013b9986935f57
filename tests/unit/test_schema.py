"""The HTTP door without Ray: requests, answers and streams, over the scripted model."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from serve_app.config import AppConfig, check_model_folder, context_window
from serve_app.ingress import Served, api
from serve_app.planner import Planner, gathered
from serve_app.schema import parse_request
from sprint.ask import ask
from sprint.card import Instruction, Method, ModelCard
from sprint.config import validate
from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.events import Delta, Event, Part, RoundJoined
from sprint.render import Prompter, trajectory_text
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, Round, Trajectory
from tests.unit.follow import follow

BYTES = ByteTokenizer()
CONTEXT_TOKENS = 4000
PLAN = f"Two things.\n{prompt(1, 1, 'add 1 and 1')}\n{prompt(1, 2, 'add 2 and 2')}\nThen compare."
TAUGHT = Trajectory(
    (Round(PLAN, (Execution("1 + 1 = 2"), Execution("2 + 2 = 4"))), Round("Nothing is left to do.")),
    "The larger is \\boxed{4}.",
)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "q?"}]}


def client(script: Script | None = None, method: Method = Method.SPRINT) -> TestClient:
    prompter = Prompter(BYTES, ModelCard(method, Instruction.NONE))
    llm = ScriptedLLM(BYTES, script or follow(TAUGHT), context_tokens=CONTEXT_TOKENS)
    return TestClient(api(Planner(llm, prompter, CONTEXT_TOKENS), Served("m", method)), raise_server_exceptions=False)


def post(http: TestClient, **values: Any) -> Any:
    return http.post("/v1/chat/completions", json=ASKED | values)


def chunks_of(response: Any) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert data.pop() == "[DONE]"
    return [json.loads(line) for line in data]


def failing(_: str) -> str:
    raise LLMUnavailable("the engine is gone")


# --- answers -------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("options", [{}, {"max_rounds": 1}, {"max_prompts": 1}, {"dispatch": "barrier"}])
def test_a_streamed_answer_is_the_whole_answer(options: dict[str, Any]) -> None:
    def script(context: str) -> str:  # says the same whatever the limits made of it
        return "4\n</Final_answer>" if context.endswith("<Final_answer>\n") else follow(TAUGHT)(context)

    chosen = script if options.get("max_rounds") else None
    if "max_prompts" in options:
        chosen = lambda context: (  # noqa: E731
            "2\n</execution_1.1>" if context.endswith(".1>\n") else f"<Plan_1>\n{PLAN}\n</Plan_1>" * ("Plan_1" not in context)
            or "<Final_answer>\n4\n</Final_answer>"
        )
    whole = post(client(chosen), sprint=options).json()["choices"][0]
    chunks = chunks_of(post(client(chosen), stream=True, sprint=options))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == whole["message"]["reasoning_content"]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert chunks[-1]["sprint"]["stop_reason"] == "answered"
