"""The contract suite over the scripted model, and over HTTP against a local server that serves the scripted model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sprint.errors import ContextOverflow, LLMError, LLMTimeout, LLMUnavailable
from sprint.http_llm import Dialect, HttpLLM
from sprint.llm import FinishReason, Sampling
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import ByteTokenizer
from tests import llm_contract
from tests.llm_contract import Subject

BYTES = ByteTokenizer()
CONTEXT_TOKENS = 400
STORY = "the quick brown fox jumps over the lazy dog and then it goes to sleep under a tree for the whole afternoon, "
QUESTION, GOODBYE = BYTES.encode("tell "), BYTES.encode("bye ")


def tell(prompt: str) -> str:
    """A long story after anything, unless it was a goodbye."""
    return "so long" if prompt.startswith("bye") else f"{len(prompt)} {STORY * 4}"


def scripted() -> ScriptedLLM:
    return ScriptedLLM(BYTES, tell, context_tokens=CONTEXT_TOKENS, token_s=0.0001)


async def active(llm: ScriptedLLM) -> int:
    return llm.running


@pytest.mark.parametrize("law", llm_contract.LAWS, ids=lambda law: law.__name__)
def test_the_scripted_model_keeps_the_contract(law: Callable[[Subject], Awaitable[None]]) -> None:
    llm = scripted()
    asyncio.run(law(Subject(llm, BYTES, QUESTION, GOODBYE, CONTEXT_TOKENS, lambda: active(llm))))


@pytest.mark.parametrize("law", llm_contract.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_model_over_http_keeps_the_contract(dialect: Dialect, law: Callable[[Subject], Awaitable[None]]) -> None:
    async def check() -> None:
        backend = scripted()
        async with served(completions(backend, dialect)) as url:
            llm = HttpLLM(url, "story", BYTES, dialect=dialect)
            await law(Subject(llm, BYTES, QUESTION, GOODBYE, CONTEXT_TOKENS, lambda: active(backend)))
            await llm.close()

    asyncio.run(check())


# --- a server that speaks either dialect ----------------------------------------------------------------------------

Endpoint = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def served(endpoint: Endpoint) -> AsyncIterator[str]:
    """The endpoint at /v1/completions of a real server on a free port."""
    app = Starlette(routes=[Route("/v1/completions", endpoint, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


def completions(llm: ScriptedLLM, dialect: Dialect) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.json()
        ids = body["prompt"] if dialect is Dialect.VLLM else BYTES.encode(body["prompt"])
        if len(ids) >= llm.context_tokens:
            message = f"the prompt is longer than the maximum context length of {llm.context_tokens}"
            return JSONResponse({"error": {"message": message}}, 400)
        assert (dialect is Dialect.VLLM) == ("return_token_ids" in body), "a parameter the server does not know"
        return StreamingResponse(stream(llm, ids, body), media_type="text/event-stream")

    return endpoint


async def stream(llm: ScriptedLLM, ids: list[int], body: dict) -> AsyncGenerator[str, None]:  # type: ignore[type-arg]
    stops = tuple(body.get("stop", ()))
    cached = 0
    async for chunk in llm.stream(ids, Sampling(body["max_tokens"], stop=stops)):
        cached = chunk.cached_tokens or 0
        finish = {FinishReason.LENGTH: "length", None: None}.get(chunk.finish_reason, "stop")
        choice: dict[str, object] = {"index": 0, "text": chunk.text, "finish_reason": finish}
        if body.get("return_token_ids"):
            choice["token_ids"] = list(chunk.token_ids)
            choice["stop_reason"] = stops[0] if chunk.finish_reason is FinishReason.STOP else None
        yield f"data: {json.dumps({'choices': [choice]})}\n\n"
    yield f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens_details': {'cached_tokens': cached}}})}\n\n"
    yield "data: [DONE]\n\n"


# --- what only HTTP can do wrong ------------------------------------------------------------------------------------


def ask(endpoint: Endpoint, dialect: Dialect = Dialect.VLLM, timeout_s: float = 5.0) -> list[object]:
    async def run() -> list[object]:
        async with served(endpoint) as url:
            llm = HttpLLM(url, "story", BYTES, dialect=dialect, timeout_s=timeout_s)
            return [chunk async for chunk in llm.stream(QUESTION, Sampling(20))]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (503, "busy", LLMUnavailable),
        (429, "slow down", LLMUnavailable),
        (400, "longer than the maximum context length", ContextOverflow),
        (400, "no such thing", LLMError),
        (500, "oops", LLMError),
    ],
)
def test_a_refusal_is_told_apart(status: int, message: str, error: type[LLMError]) -> None:
    async def refuse(_: Request) -> Response:
        return JSONResponse({"error": {"message": message}}, status)

    with pytest.raises(error, match=f"answered {status}: {message}"):
        ask(refuse)


def test_a_silent_server_times_out() -> None:
    async def sleep(_: Request) -> Response:
        await asyncio.sleep(1)
        return Response()

    with pytest.raises(LLMTimeout, match=r"silent for 0\.1 s"):
        ask(sleep, timeout_s=0.1)


def test_no_server_is_unavailable() -> None:
    async def run() -> None:
        async for _ in HttpLLM("http://127.0.0.1:9", "x", BYTES).stream(QUESTION, Sampling(1)):
            pass

    with pytest.raises(LLMUnavailable, match="cannot be reached"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("data: {broken\n\n", "not JSON"),
        ('data: {"error": {"message": "died"}}\n\n', "failed: died"),
        ('data: {"choices": [{"text": "a", "token_ids": [1]}]}\n\n', "without a finish reason"),
        ("", "without a finish reason"),
    ],
)
def test_a_broken_stream_is_an_error_not_an_answer(lines: str, complaint: str) -> None:
    async def broken(_: Request) -> Response:
        return Response(lines, media_type="text/event-stream")

    with pytest.raises(LLMError, match=complaint):
        ask(broken)


def test_only_ids_from_the_server_are_exact() -> None:
    for dialect in Dialect:
        chunks = ask(completions(scripted(), dialect), dialect)
        assert {chunk.exact for chunk in chunks} == {dialect is Dialect.VLLM}  # type: ignore[attr-defined]
