"""The whole serving edge: a real vLLM engine behind the real Ray Serve application, asked over HTTP.

The model is tiny and random, so its texts are garbage; what is tested is everything around them.
"""

import asyncio
import io
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console

from sprint.ask import ask
from sprint.errors import ConfigError, LLMUnavailable
from sprint.steps import free_port
from sprint.tokenizer import HFTokenizer
from sprint.usage import Usage
from tests.edge.tiny_model import CONTEXT_TOKENS, ENDING, ENDLESS
from tests.llm_contract import LAWS, Subject

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A served model. `num_unfinished` asks the engine how many calls it has."""

    url: str
    folder: Path
    handle: Any

    async def num_unfinished(self) -> int:
        return await self.handle.num_unfinished.remote()

    def chat(self, **values: Any) -> httpx.Response:
        body = {"model": "tiny", "messages": [{"role": "user", "content": ENDLESS}], "max_tokens": 24} | values
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    os.environ["PYTHONPATH"] = (
        f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"  # replicas import the project as it lies here
    )
    from ray import serve

    from serve_app.config import ServeConfig
    from serve_app.run import APP_NAME, running

    before = psutil.Process().children(recursive=True)  # what earlier tests keep until the end is not ours
    with running(ServeConfig(model=folder, port=free_port(), kv_cache_mib=64)) as url:
        yield Server(url, folder, serve.get_deployment_handle("VLLMServer", APP_NAME))
        started = set(psutil.Process().children(recursive=True)) - set(before)
    assert started, "the server has no process"
    _, left = psutil.wait_procs(started, timeout=60)
    assert left == [], "processes were left behind"


@pytest.fixture
def openai_client(server: Server) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_vllm_keeps_the_contract_of_the_seam(server: Server, law: Any) -> None:
    from serve_app.pools.serve_llm import ServeLLM

    tokenizer = HFTokenizer(server.folder)
    subject = Subject(
        ServeLLM(server.handle),
        tokenizer,
        tokenizer.encode(ENDLESS),
        tokenizer.encode(ENDING),
        CONTEXT_TOKENS,
        server.num_unfinished,
    )
    asyncio.run(law(subject))


def test_the_probes_and_the_list_of_models_tell_what_is_served(server: Server) -> None:
    assert httpx.get(f"{server.url}/health", timeout=20).json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/ready", timeout=20).json()["status"] == "ready"
    assert "sprint_requests_total" in httpx.get(f"{server.url}/metrics", timeout=20).text
    listed = httpx.get(f"{server.url}/v1/models", timeout=20).json()
    assert [model["id"] for model in listed["data"]] == ["tiny"]


def test_an_unchanged_openai_client_gets_an_answer(openai_client: Any) -> None:
    answer = openai_client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": ENDLESS}], max_tokens=24, temperature=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 24
    usage = Usage.from_dict(answer.model_extra["sprint"]["usage"])
    assert usage.generated_tokens == 24
    assert usage.prompt_tokens == answer.usage.prompt_tokens


def test_a_streamed_answer_is_the_whole_answer(openai_client: Any) -> None:
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": ENDLESS}],
        "max_tokens": 24,
        "temperature": 0,
        "extra_body": {"sprint": {"mode": "parallel"}},
    }
    whole = openai_client.chat.completions.create(**asked)
    chunks = list(openai_client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    message = whole.choices[0].message
    assert "".join(delta.model_extra.get("reasoning_content", "") for delta in deltas) == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason


def test_events_and_timeline_come_when_asked_for(server: Server) -> None:
    options = {"mode": "parallel", "max_rounds": 2, "max_plan_tokens": 8, "events": True, "timeline": True}
    response = server.chat(stream=True, sprint=options, max_tokens=60)
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(line) for line in data[:-1]]
    kinds = [chunk["sprint_event"]["kind"] for chunk in chunks if "sprint_event" in chunk]
    assert kinds[:2] == ["round_started", "delta"]
    assert kinds[-1] == "finished"
    assert "round_joined" in kinds
    assert [span["kind"] for span in chunks[-1]["sprint"]["timeline"]] == ["plan", "final"]


def test_many_questions_at_once_get_their_own_answers(server: Server) -> None:
    questions = [f"{ENDLESS} {n}" for n in range(12)]

    def answer(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        return str(server.chat(messages=messages, temperature=0).json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(answer, questions))
    assert together[::5] == [answer(question) for question in questions[::5]]


BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown model": ({"model": "other"}, 404, "expected 'tiny'"),
    "no messages": ({"messages": []}, 400, "expected one user message"),
    "a dialogue": ({"messages": [{"role": "assistant", "content": "a"}]}, 400, "expected 'system' or 'user'"),
    "negative temperature": ({"temperature": -1}, 400, "'temperature' is -1"),
    "no answers": ({"n": 0}, 400, "'n' is 0"),
    "no tokens": ({"max_tokens": 0}, 400, "'max_tokens' is 0"),
    "unknown option": ({"sprint": {"speed": 9}}, 400, "sprint.speed"),
    "unknown mode": ({"sprint": {"mode": "fast"}}, 400, "sprint.mode"),
    "too long": ({"messages": [{"role": "user", "content": "? " * CONTEXT_TOKENS}]}, 400, f"holds {CONTEXT_TOKENS}"),
    "too long to stream": (
        {"messages": [{"role": "user", "content": "? " * CONTEXT_TOKENS}], "stream": True},
        400,
        f"holds {CONTEXT_TOKENS}",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_told_what_is_wrong_with_it(server: Server, name: str) -> None:
    values, status, part = BAD_REQUESTS[name]
    response = server.chat(**values)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert part in error["message"]
    assert error["type"] == "invalid_request_error"


def test_raw_text_is_continued_by_the_model(openai_client: Any, server: Server) -> None:
    text = openai_client.completions.create(model="tiny", prompt=[ENDLESS, ENDING], max_tokens=8, temperature=0)
    assert [choice.finish_reason for choice in text.choices] == ["length", "length"]
    tokens = HFTokenizer(server.folder)
    assert text.usage.prompt_tokens == len(tokens.encode(ENDLESS)) + len(tokens.encode(ENDING))
    assert text.usage.completion_tokens == 16
    ids = openai_client.completions.create(
        model="tiny", prompt=list(tokens.encode(ENDLESS)), max_tokens=8, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in ids) == text.choices[0].text


def test_several_answers_are_sampled_apart(server: Server) -> None:
    answer = server.chat(n=3, seed=1, temperature=1.0).json()
    assert len({choice["message"]["reasoning_content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 72


def test_a_client_that_goes_away_cancels_what_is_not_streamed_too(server: Server) -> None:
    body = {"messages": [{"role": "user", "content": ENDLESS}], "model": "tiny", "temperature": 0}

    async def leave() -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            asked = asyncio.create_task(client.post(f"{server.url}/v1/chat/completions", json=body))
            async with asyncio.timeout(30):
                while not await server.num_unfinished():
                    await asyncio.sleep(0.02)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(10):
            while await server.num_unfinished():
                await asyncio.sleep(0.02)

    asyncio.run(leave())
    counted = httpx.get(f"{server.url}/metrics", timeout=20).text
    assert 'sprint_requests_total{endpoint="chat",outcome="disconnected"}' in counted


def test_a_client_that_goes_away_cancels_its_rollout(server: Server) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": ENDLESS}], "stream": True, "temperature": 0}

    async def leave() -> None:
        url = f"{server.url}/v1/chat/completions"
        async with httpx.AsyncClient(timeout=30) as client, client.stream("POST", url, json=body) as response:
            lines = response.aiter_lines()
            while "reasoning_content" not in await anext(lines):  # until something has been sampled
                pass
            assert await server.num_unfinished() == 1
        async with asyncio.timeout(10):
            while await server.num_unfinished():
                await asyncio.sleep(0.02)

    asyncio.run(leave())


def test_ask_shows_the_answer_and_the_counts(server: Server) -> None:
    shown = io.StringIO()
    answer = ask(ENDLESS, server.url, options={"max_tokens": 24}, console=Console(file=shown))
    assert f"answer: {answer.strip()}" in shown.getvalue()
    assert "24 tokens" in shown.getvalue()


# --- what is refused before anything starts --------------------------------------------------------------------------


def test_a_port_in_use_is_reported_before_ray_starts(folder: Path) -> None:
    from serve_app.config import ServeConfig
    from serve_app.run import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(ServeConfig(model=folder, port=port))


def test_asking_where_nothing_listens_says_so() -> None:
    with pytest.raises(LLMUnavailable, match="no server answers"):
        ask("?", f"http://127.0.0.1:{free_port()}", "tiny", console=Console(file=io.StringIO()))
