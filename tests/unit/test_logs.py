"""Laws of the logs: one line a record, JSON, joined by the request's id, and silent about what was asked."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.observe import logs
from sprint.printable import printable
from tests.unit.rollouts import in_rounds, sequential

log = logging.getLogger("serve_app.of_a_test")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    before = [
        (logger, logger.handlers[:], logger.level, logger.propagate) for logger in map(logging.getLogger, logs.TREES)
    ]
    logs.bind("")
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    logs.setup(deployment="Planner", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def test_a_line_says_when_where_for_whom_and_what(lines: Lines) -> None:
    logs.bind("r-1")
    logs.say(log, logging.WARNING, "a call was retried", pool="model", attempt=2)
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "serve_app.of_a_test",
        "deployment": "Planner",
        "request_id": "r-1",
        "message": "a call was retried",
        "pool": "model",
        "attempt": 2,
    }


def test_what_a_library_call_gives_as_extra_is_told_too(lines: Lines) -> None:
    logs.bind("of the task")
    logging.getLogger("sprint.serve").warning("gone", extra={"request_id": "of the call", "replica": "r7"})
    (line,) = lines()
    assert (line["request_id"], line["replica"]) == ("of the call", "r7")


def test_what_a_runtime_adds_to_every_record_is_not_told(lines: Lines) -> None:
    log.warning("gone", extra={"_of_a_runtime": 1})
    assert "_of_a_runtime" not in lines()[0]


def test_the_id_goes_with_the_tasks_of_a_request_and_with_no_other(lines: Lines) -> None:
    async def call(name: str) -> None:
        await asyncio.sleep(0)
        logs.say(log, logging.INFO, "called", call=name)

    async def request(name: str) -> None:
        logs.bind(name)
        async with asyncio.TaskGroup() as group:
            for k in range(3):
                group.create_task(call(f"{name}.{k}"))

    async def serve() -> None:
        await asyncio.gather(*(asyncio.create_task(request(name)) for name in "abc"))

    asyncio.run(serve())
    assert len(lines()) == 9
    assert all(line["call"].startswith(line["request_id"]) for line in lines())


@given(st.text(), st.text(st.characters(categories=["Cc", "Cs", "Zl", "Zp"])))
def test_no_text_breaks_a_line_or_steers_a_terminal(text: str, controls: str) -> None:
    for json_lines in (True, False):
        stream = io.StringIO()
        logs.setup(json=json_lines, stream=stream)
        logs.bind(text + controls)
        logs.say(log, logging.INFO, "x " + controls + text, path=text, client=controls, **{controls or "k": 1})
        written = stream.getvalue()
        assert written.endswith("\n")
        assert len(written.splitlines()) == 1
        assert printable(written) == written
        assert written.isascii() or not json_lines
    logs.bind("")


def test_a_field_cannot_pose_as_another(lines: Lines) -> None:
    logs.bind("true")
    logs.say(log, logging.INFO, "said", request_id="", level="critical", time="never")
    (line,) = lines()
    assert (line["request_id"], line["level"], line["message"]) == ("true", "info", "said")
    assert line["time"] != "never"


def test_long_values_are_cut_and_odd_ones_become_text(lines: Lines) -> None:
    logs.say(
        log, logging.INFO, "odd", path="x" * 10_000, error=ValueError("why"), nan=float("nan"), none=None, many=[1]
    )
    (line,) = lines()
    assert len(line["path"]) == logs.LONGEST_TEXT
    assert (line["error"], line["nan"], line["none"], line["many"]) == ("why", "nan", None, "[1]")


def test_an_error_is_one_line_with_its_traceback(lines: Lines) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("it failed")
    (line,) = lines()
    assert line["message"] == "it failed"
    assert "ValueError: first\nsecond" in line["exception"]


# --- setting up ------------------------------------------------------------------------------------------------------


def test_setting_up_again_replaces_and_nothing_is_written_twice() -> None:
    first, second, root = io.StringIO(), io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(root)  # as Ray or a test runner has one
    logging.getLogger().addHandler(handler)
    try:
        logs.setup(stream=first)
        logs.setup(stream=second)
        logs.say(log, logging.INFO, "once")
    finally:
        logging.getLogger().removeHandler(handler)
    assert first.getvalue() == root.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_only_our_loggers_are_touched() -> None:
    root, other = logging.getLogger(), logging.getLogger("ray.serve")
    before = (root.handlers[:], root.level, other.handlers[:], other.level, other.propagate)
    logs.setup(stream=io.StringIO())
    assert (root.handlers[:], root.level, other.handlers[:], other.level, other.propagate) == before


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    logs.setup(level="WARNING", stream=stream)
    logs.say(log, logging.INFO, "nobody hears")
    logs.say(log, logging.WARNING, "somebody hears")
    assert stream.getvalue().count("\n") == 1


def test_as_text_it_is_for_a_person() -> None:
    stream = io.StringIO()
    logs.setup(json=False, stream=stream)
    logs.bind("r-1")
    logs.say(log, logging.WARNING, "a call was retried", pool="model", reason='the "new" one')
    time, rest = stream.getvalue().split(" ", 1)
    assert len(time) == len("12:00:00.000")
    expected = (
        'warning a call was retried logger=serve_app.of_a_test request_id=r-1 pool=model reason="the \\"new\\" one"'
    )
    assert rest == expected + "\n"


# --- the access line -------------------------------------------------------------------------------------------------


def test_a_finished_request_is_one_line_with_what_it_cost_and_none_of_its_text(lines: Lines) -> None:
    rollout = in_rounds()
    logs.bind("r-9")
    logs.access(logs.Access("POST", "/v1/chat/completions", 200, "alice", 1.23456, "answered"), rollout)
    (line,) = lines()
    usage = rollout.usage
    expected = {"method": "POST", "path": "/v1/chat/completions", "status": 200, "client": "alice", "seconds": 1.2346}
    expected |= {"request_id": "r-9", "outcome": "answered", "stop_reason": "answered", "rounds": 2, "executions": 3}
    expected |= {"generated_tokens": usage.generated_tokens, "prompt_tokens": usage.prompt_tokens}
    assert line.items() >= expected.items()
    assert "secret" in rollout.text
    assert "secret" not in json.dumps(line)


def test_errors_of_the_server_are_warnings_and_those_of_clients_are_not(lines: Lines) -> None:
    for status in (200, 404, 503):
        logs.access(logs.Access("GET", "/", status, "10.0.0.1", 0.1))
    logs.access(logs.Access("GET", "/", 200, "10.0.0.1", 0.1), sequential())
    assert [line["level"] for line in lines()] == ["info", "info", "warning", "info"]
