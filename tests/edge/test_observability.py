"""The real application over HTTP on a scripted model: what `/metrics` and the logs say is what clients were told."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import httpx
import pytest
import uvicorn

from serve_app.api.ingress import Served, api
from serve_app.observe import logs
from serve_app.observe.metrics import CONTENT_TYPE, SUMS
from serve_app.planner import Planner
from serve_app.pools.stats import ServiceStats
from sprint.card import Instruction, Method, ModelCard
from sprint.errors import LLMUnavailable
from sprint.llm import Chunk, Sampling
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from sprint.usage import Usage
from tests.unit.rollouts import BYTES, lenient
from tests.unit.scraped import STATS, families_of, value

SECRET = "the treasure is under the oak"
FAILS = "this one fails"
HANGS = "this one never ends"


class HangingLLM(ScriptedLLM):
    """Says the beginning of its answer, and nothing more, where the question asks for that."""

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().stream(prompt_ids, sampling, session=session):
            yield chunk
            if HANGS in BYTES.decode(prompt_ids):
                await asyncio.Event().wait()


class ObservedPlanner(Planner):
    """A planner on a scripted model, before pools that are always the same."""

    async def stats(self) -> ServiceStats:
        return STATS


def script(context: str) -> str:
    """In rounds, or in one breath where the question asks for it; fails where it says so."""
    if FAILS in context:
        raise LLMUnavailable("no model replica is there")
    return lenient(context).replace("secret", SECRET)


@dataclass(frozen=True)
class Service:
    """The running application, and what it has logged so far."""

    url: str
    log: io.StringIO

    def ask(self, question: str, request_id: str = "", **values: Any) -> httpx.Response:
        body = {"model": "scripted", "messages": [{"role": "user", "content": question}], "temperature": 0, **values}
        headers = {"x-request-id": request_id} if request_id else {}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

    def scraped(self) -> list[Any]:
        """The samples of `/metrics`."""
        response = httpx.get(f"{self.url}/metrics", timeout=30)
        assert response.status_code == 200
        assert response.headers["content-type"] == CONTENT_TYPE
        return [sample for family in families_of(response.content) for sample in family.samples]

    def lines(self) -> list[dict[str, Any]]:
        """The log. A line is written after its answer was sent, so it may come a moment later."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The access line of a request, of which there must be one."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line.get("request_id") == request_id and "status" in line]

        until(lambda: bool(found()))
        (line,) = found()
        return line


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application on a real socket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    """A fresh one, so that its counts are those of one test."""
    ours = [logging.getLogger(name) for name in logs.TREES]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in ours]
    stream = io.StringIO()
    logs.setup(deployment="Ingress", stream=stream)
    prompter = Prompter(BYTES, ModelCard(Method.SPRINT, Instruction.NONE))
    planner = ObservedPlanner(HangingLLM(BYTES, script, chunk_tokens=8, context_tokens=4000), prompter, 4000)
    with serving(api(planner, Served("scripted", Method.SPRINT))) as url:
        yield Service(url, stream)
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def usage_of(answer: dict[str, Any]) -> Usage:
    return Usage.from_dict(answer["sprint"]["usage"])


def streamed_usage(response: httpx.Response) -> Usage:
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return usage_of(next(chunk for chunk in chunks if "sprint" in chunk))


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_the_metrics_are_the_sums_of_the_usages_that_clients_were_told(service: Service) -> None:
    usages: list[Usage] = []
    for number in range(6):
        options = {"mode": "sequential"} if number % 3 == 2 else {"max_rounds": 3}
        response = service.ask(f"question {number}", stream=number % 2 == 1, sprint=options)
        assert response.status_code == 200, response.text
        usages.append(streamed_usage(response) if number % 2 else usage_of(response.json()))
    total = reduce(add, usages)
    until(lambda: value(service.scraped(), "rollouts_total") == 6)
    found = service.scraped()
    for field in SUMS:
        name = re.sub("_s$", "_seconds", field.removeprefix("num_"))
        assert value(found, f"{name}_total") == pytest.approx(getattr(total, field)), field
    assert value(found, "prompt_tokens_total") == total.prompt_tokens
    assert value(found, "cached_prompt_tokens_total") == total.cached_prompt_tokens
    assert value(found, "calls_total") == total.num_calls
    assert value(found, "rollout_seconds_sum") == pytest.approx(total.wall_s)
    assert value(found, "requests_total", endpoint="chat") == 6
    assert value(found, "rollouts_total", mode="sequential") == 2
    assert value(found, "requests_in_flight", endpoint="chat") == value(found, "requests_queued") == 0


def test_what_went_wrong_is_counted_too(service: Service) -> None:
    assert service.ask("hello", temperature=-1).status_code == 400
    assert service.ask("hello", model="another").status_code == 404
    assert service.ask(FAILS).status_code == 503
    until(lambda: value(service.scraped(), "requests_total") == 3)
    found = service.scraped()
    assert value(found, "requests_total", outcome="400") == value(found, "requests_total", outcome="404") == 1
    assert value(found, "rollout_failures_total") == 1
    assert value(found, "requests_in_flight") == 0


def test_a_client_that_goes_away_is_counted_as_that(service: Service) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": HANGS}], "stream": True}
    with httpx.stream("POST", f"{service.url}/v1/chat/completions", json=body, timeout=30) as response:
        next(response.iter_raw(16))
    until(lambda: value(service.scraped(), "requests_total") == 1)
    found = service.scraped()
    assert value(found, "requests_disconnected_total") == value(found, "requests_total", outcome="disconnected") == 1
    assert value(found, "requests_in_flight") == 0


def test_the_pools_are_told_and_scraping_does_not_count(service: Service) -> None:
    for _ in range(3):
        found = service.scraped()
    assert value(found, "pool_replicas", pool="model") == 2
    assert not [sample for sample in found if sample.name == "sprint_requests_total"]


# --- logs ------------------------------------------------------------------------------------------------------------


def test_every_request_has_one_line_with_its_own_id_and_cost(service: Service) -> None:
    for number in range(3):
        usage = usage_of(service.ask("question", f"mine-{number}").json())
        line = service.line_of(f"mine-{number}")
        assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
        assert (line["client"], line["deployment"], line["level"]) == ("127.0.0.1", "Ingress", "info")
        assert (line["rounds"], line["generated_tokens"]) == (usage.num_rounds, usage.generated_tokens)
        assert line["stop_reason"] == "answered"


def test_an_id_that_the_server_makes_is_told_to_the_client(service: Service) -> None:
    request_id = service.ask("question").headers["x-request-id"]
    assert service.line_of(request_id)["outcome"] == "answered"


def test_failures_are_logged_as_warnings_with_their_status(service: Service) -> None:
    service.ask(FAILS, "bad-luck")
    line = service.line_of("bad-luck")
    assert (line["level"], line["status"], line["outcome"]) == ("warning", 503, "failed")
    assert line["reason"] == "no model replica is there"


def test_nothing_that_was_asked_or_answered_is_logged_or_counted(service: Service) -> None:
    answer = service.ask(f"{SECRET}?", "private").json()
    assert SECRET in answer["choices"][0]["message"]["reasoning_content"]
    service.ask(SECRET, "wrong", temperature=-1)
    service.ask(f"{FAILS}, {SECRET}", "failed")
    assert [service.line_of(request_id)["status"] for request_id in ("private", "wrong", "failed")] == [200, 400, 503]
    assert SECRET not in service.log.getvalue()
    assert SECRET not in httpx.get(f"{service.url}/metrics", timeout=30).text


HOSTILE = ("/v1/%0Afake%20line", "/%1b%5b2J%e2%80%a8x%c2%85y", "/" + "a" * 2000, "/%00", "/%ff%fe")


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path[:16])
def test_no_path_breaks_a_line_or_makes_a_series(service: Service, path: str) -> None:
    httpx.get(service.url + path, headers={"x-request-id": "evil"}, timeout=30)
    line = service.line_of("evil")
    assert line["status"] == 404
    text = service.log.getvalue()
    assert text.isascii()
    assert text.count("\n") == len(text.splitlines()) == len(service.lines())
    assert not [sample for sample in service.scraped() if sample.name == "sprint_requests_total"]


def test_an_id_that_could_forge_a_line_is_not_taken(service: Service) -> None:
    for forged in ("a b", "x" * 65, 'a","level":"error', ""):
        request_id = service.ask("question", forged).headers["x-request-id"]
        assert request_id != forged
        assert re.fullmatch(r"[0-9a-f]{32}", request_id)


def test_probes_are_not_logged(service: Service) -> None:
    for path in ("/health", "/metrics"):
        assert httpx.get(service.url + path, timeout=30).status_code == 200
    service.ask("question", "last")
    assert service.line_of("last")
    assert [line["path"] for line in service.lines() if "path" in line] == ["/v1/chat/completions"]
