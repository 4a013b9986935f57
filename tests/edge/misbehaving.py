"""A chat endpoint that misbehaves on purpose, on a local port, with a log of everything it was asked.

    with MisbehavingServer(reply=..., faults=Faults(script=(Fault.RATE_LIMIT,) * 32), latency_s=0.25) as server:
        ...  # ask server.url; then read server.log, server.faults, server.peak

What goes wrong depends on the script, or on the seed, the request and how often it was asked: never on the order in
which requests happen to arrive (but for the script).
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from sprint.requests import Message, Purpose, Request, Role
from tests.edge.faults import STATUS, Asked, Fault, Faults

__all__ = ("MODEL", "Asked", "Fault", "Faults", "MisbehavingServer", "closed_url", "echo")

MODEL = "misbehaving"
NO_FAULTS = Faults()
Messages = list[dict[str, str]]


def echo(messages: Messages) -> str:
    return messages[-1]["content"]


def closed_url() -> str:
    """An address at which nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"


class MisbehavingServer:
    """Serves /v1/chat/completions and /v1/models from a thread. Counters may be read at any time, from any thread.

    `reply` makes the content from the messages and `distort` spoils it (Fault.INVENTED). `refuses` names fields of the
    body, or types of `response_format`, that are answered with 400. `api_key`: others get 401. `cached_tokens` None:
    not reported; `usage` False: no usage at all. More than `capacity` at once get 429 without a word on when to return.
    """

    def __init__(
        self,
        reply: Callable[[Messages], str] = echo,
        faults: Faults = NO_FAULTS,
        latency_s: float = 0.0,
        distort: Callable[[str], str] = str.upper,
        refuses: Sequence[str] = (),
        api_key: str = "",
        usage: bool = True,
        cached_tokens: int | None = None,
        lists_models: bool = True,
        finish_reason: str = "stop",
        capacity: int | None = None,
    ) -> None:
        self.reply, self.faults_of, self.latency_s, self.distort = reply, faults, latency_s, distort
        self.refuses, self.api_key, self.lists_models = refuses, api_key, lists_models
        self.usage, self.cached_tokens, self.finish_reason = usage, cached_tokens, finish_reason
        self.capacity = capacity
        self.log: list[Asked] = []
        self.in_flight = self.peak = self.flooded_bytes = 0
        self.url = ""
        self.times_asked: Counter[str] = Counter()  # how often each request arrived, by its key
        self._suffered: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._started, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def faults(self) -> Counter[Fault]:
        """How often each thing went wrong."""
        return Counter(asked.fault for asked in self.log if asked.fault)

    @property
    def expected_failures(self) -> Counter[str]:
        """What a client should have counted, by kind."""
        kinds = Counter(asked.fault.kind for asked in self.log if asked.fault and asked.fault.kind)
        refused = sum(bool(asked.refused_field) for asked in self.log)
        return kinds + Counter({"unsupported": refused})

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the server did not start within 30 s")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes([web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models)])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if not self.lists_models:
            return web.Response(status=404)
        return web.json_response({"object": "list", "data": [{"id": MODEL}, {"id": "other"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            asked = self._note(await request.json(), request.headers)
            await asyncio.sleep(self.latency_s)
            return await _Answer(self, request, asked).send()
        finally:
            self.in_flight -= 1

    def _note(self, body: dict[str, Any], headers: Mapping[str, str]) -> Asked:
        messages = tuple(Message(Role(message["role"]), message["content"]) for message in body["messages"])
        key = Request(Purpose.STEPS, messages, 1).key
        attempt, refused = self.times_asked[key], self._refused_field(body)
        fault = None if refused else self._fault(body, headers, key, attempt)
        self.times_asked[key] += 1
        self._suffered[key] += fault is not None
        asked = Asked(key, attempt, fault, body, headers, refused)
        self.log.append(asked)
        return asked

    def _fault(self, body: Mapping[str, Any], headers: Mapping[str, str], key: str, attempt: int) -> Fault | None:
        if self.api_key and headers.get("Authorization") != f"Bearer {self.api_key}":
            return Fault.UNAUTHORIZED
        if body["model"] != MODEL:
            return Fault.NOT_FOUND
        if self.capacity and self.in_flight > self.capacity:
            return Fault.RATE_LIMIT_SILENT
        return self.faults_of.of(len(self.log), key, self._suffered[key], attempt)

    def _refused_field(self, body: Mapping[str, Any]) -> str:
        kind = (body.get("response_format") or {}).get("type")
        names = [name for name in self.refuses if name in body]
        return names[0] if names else f"response_format {kind}" if kind in self.refuses else ""


class _Answer:
    """One answer, good or bad."""

    def __init__(self, server: MisbehavingServer, request: web.Request, asked: Asked) -> None:
        self.server, self.request, self.asked = server, request, asked

    async def send(self) -> web.StreamResponse:
        fault = self.asked.fault
        if self.asked.refused_field:
            name = self.asked.refused_field
            hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            return self._refusal(400, f"Unsupported parameter: '{name}' is not supported.{hint}")
        if fault in STATUS:
            return self._refusal(STATUS[fault], f"as scripted: {fault}")
        if fault is Fault.FLOOD:
            return await self._flood()
        if fault in (Fault.STALL, Fault.DRIP, Fault.RESET, Fault.DISCONNECT):
            return await self._hang(fault)
        return self._body(fault)

    def _refusal(self, status: int, message: str) -> web.Response:
        fault, headers = self.asked.fault, {}
        if fault in (Fault.RATE_LIMIT, Fault.OVERLOADED):
            headers["Retry-After"] = self.server.faults_of.retry_after
        if fault is Fault.UNAUTHORIZED:  # some servers repeat what they were given
            message = f"wrong key: {self.asked.headers.get('Authorization')}"
        error = {"message": message, "code": "insufficient_quota" if fault is Fault.NO_QUOTA else None}
        return web.json_response({"error": error}, status=status, headers=headers)

    async def _hang(self, fault: Fault) -> web.StreamResponse:
        stall_s = self.server.faults_of.stall_s
        if fault is Fault.STALL:
            await asyncio.sleep(stall_s)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4096"})
        if fault in (Fault.DRIP, Fault.DISCONNECT):
            await response.prepare(self.request)
            await response.write(b'{"choices": [')
        if fault is Fault.DRIP:
            for _ in range(int(stall_s / 0.05)):
                await response.write(b" ")
                await asyncio.sleep(0.05)
        if self.request.transport:
            self.request.transport.abort()
        return response

    async def _flood(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(self.request)
        for _ in range(128):
            await response.write(b" " * (1 << 20))
            self.server.flooded_bytes += 1 << 20
        return response

    def _body(self, fault: Fault | None) -> web.Response:
        text = self.server.reply(self.asked.body["messages"])
        body = self._completion(self.server.distort(text) if fault is Fault.INVENTED else text)
        message = body["choices"][0]["message"]
        match fault:
            case Fault.EMPTY_BODY:
                return web.Response(content_type="application/json")
            case Fault.TRUNCATED_JSON:
                whole = json.dumps(body)
                return web.Response(text=whole[: len(whole) // 2], content_type="application/json")
            case Fault.NO_CHOICES:
                body["choices"] = []
            case Fault.NO_CONTENT:
                message["content"] = None
            case Fault.THOUGHT_ONLY:
                message |= {"content": "", "reasoning_content": "Let me think."}
            case Fault.SPENT:
                message |= {"content": "", "reasoning_content": "Let me think."}
                body["choices"][0]["finish_reason"] = "length"
            case Fault.DECLINED:
                message |= {"content": None, "refusal": "I cannot help with that."}
            case Fault.ERROR_IN_200:
                body = {"error": {"message": "the upstream provider is away", "code": 502}}
        return web.json_response(body)

    def _completion(self, text: str) -> dict[str, Any]:
        prompt = sum(len(message["content"].split()) for message in self.asked.body["messages"])
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": len(text.split())}
        if self.server.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.server.cached_tokens}
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": self.server.finish_reason}
        return {"choices": [choice]} | ({"usage": usage} if self.server.usage else {})
