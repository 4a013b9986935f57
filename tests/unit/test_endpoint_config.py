"""The endpoint without HTTP: its configuration keeps the key out, limits hold, complaints are understood."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.endpoint.config import HIDDEN, EndpointConfig, Structured, masked
from pipelines.endpoint.pace import Bucket, Pacer
from pipelines.endpoint.wire import MOST_BODY_BYTES, Dialect, Failure, read_refusal, read_reply, served_models
from sprint.config import validate
from sprint.errors import ConfigError
from sprint.requests import Message, Purpose, Reply, Request, Role

REQUEST = Request(Purpose.STEPS, (Message(Role.USER, "Which?"),), 64, {"type": "object"})
SECRET = "sk-entirely-invented"


def test_the_defaults_need_only_a_model() -> None:
    config = validate(EndpointConfig, {"model": "m"}, "options")
    assert (config.api_key_env, config.concurrency, config.temperature) == ("OPENAI_API_KEY", 32, 0.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key_env": SECRET}, "'api_key_env' is '(hidden)': expected the name of the environment variable"),
        ({"base_url": f"https://user:{SECRET}@host/v1"}, "'base_url' is '(hidden)': expected no user name or password"),
        (
            {"base_url": f"https://host/v1?api_key={SECRET}"},
            "'base_url' is '(hidden)': expected no user name or password",
        ),
        ({"base_url": f"https://host/v1#{SECRET}"}, "and no query in it"),
        ({"headers": {"Authorization": SECRET}}, "'Authorization' carries a key"),
        ({"base_url": "localhost:8000/v1"}, "expected an address like https://api.openai.com/v1"),
        ({"base_url": "http://host:http/v1"}, "expected an address like https://api.openai.com/v1"),
        ({"extra": {"stream": True}}, "'stream' is set for every request"),
        ({"concurrency": 0}, "'concurrency' is 0"),
        ({"key": SECRET}, "unknown key 'key'"),
    ],
)
def test_a_mistake_is_one_sentence_without_the_key(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(EndpointConfig, {"model": "m"} | options, "curate.yaml")
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("value", "structured"), [(False, "off"), ("off", "off"), ("json_object", "json_object")])
def test_off_in_yaml_is_off(value: object, structured: str) -> None:
    assert validate(EndpointConfig, {"model": "m", "structured": value}, "options").structured == structured


@given(st.floats(0.5, 6000), st.lists(st.tuples(st.floats(0, 90), st.floats(0.1, 500)), min_size=1, max_size=60))
def test_no_minute_holds_more_than_the_limit_a_second_and_one_amount(
    per_minute: float, arrivals: list[tuple[float, float]]
) -> None:
    bucket, now = Bucket(per_minute), 0.0
    taken: list[tuple[float, float]] = []
    for idle_s, amount in arrivals:
        now += idle_s
        while wait_s := bucket.wait_s(now, amount):
            now = max(now + wait_s, math.nextafter(now, math.inf))
        bucket.take(amount)
        taken.append((now, amount))
    for start, _ in taken:
        minute = [amount for at, amount in taken if start <= at < start + 60]
        assert sum(minute) <= per_minute + bucket.capacity + max(minute) + 1e-3


@given(st.floats(1, 6000), st.floats(0.1, 50_000))
def test_every_amount_leaves_sometime(per_minute: float, amount: float) -> None:
    bucket = Bucket(per_minute)
    bucket.take(amount)
    wait_s = bucket.wait_s(0.0, amount)
    assert bucket.wait_s(wait_s + 1e-6 * (1 + wait_s), amount) == 0


def test_one_burst_halves_the_window_once_and_answers_open_it_again() -> None:
    async def run() -> None:
        pacer = Pacer(8, clock=itertools.count().__next__)
        slots = [await pacer.slot(1).__aenter__() for _ in range(8)]
        for slot in slots:
            pacer.narrow(slot, 0)
        assert (pacer.window, pacer.refusals) == (4, 1)
        for refused in range(4):
            pacer.in_flight = 0
            async with pacer.slot(1) as slot:
                pacer.narrow(slot, 0)
            assert pacer.window == max(1, 2 - refused)
        for _ in range(40):
            pacer.settle(slot, 1)
        assert (pacer.window, pacer.refusals) == (8, 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    "complaint",
    [
        "This model's maximum context length is 8192 tokens, but your messages resulted in 9000 tokens "
        "(8900 in the messages, 100 in the response_format schemas).",
        "'max_tokens' or 'max_completion_tokens' is too large: 64. The context window is 32.",
        "messages must not be empty",
    ],
)
def test_a_complaint_about_something_else_changes_nothing(complaint: str) -> None:
    assert Dialect.of(Structured.AUTO).yielding_to(complaint, REQUEST) is None


@given(st.text(max_size=200))
def test_a_complaint_changes_a_dialect_only_so_often(complaint: str) -> None:
    words = "unsupported: use max_completion_tokens; no temperature; response_format "
    dialect: Dialect | None = Dialect.of(Structured.AUTO)
    dialects = []
    while dialect is not None and len(dialects) < 9:
        dialects.append(dialect)
        dialect = dialect.yielding_to(words + complaint, REQUEST)
    assert len(set(dialects)) == len(dialects) <= 5


@given(st.binary(max_size=80) | st.sampled_from([b"[]", b"null", b'{"choices": 3}', b'{"choices": [[]]}', b"\xff{}"]))
def test_no_body_is_mistaken_for_a_reply(content: bytes) -> None:
    outcome = read_reply(content, REQUEST)
    assert not isinstance(outcome, Reply)
    assert outcome.kind is Failure.BAD_BODY


@given(st.integers(400, 599), st.binary(max_size=80), st.dictionaries(st.just("retry-after"), st.text(max_size=12)))
def test_every_refusal_is_read(status: int, content: bytes, headers: dict[str, str]) -> None:
    failed = read_refusal(status, content, headers)
    assert f"answered {status}" in failed.message
    assert failed.status == status
    assert failed.wait_s is None or 0 <= failed.wait_s <= 600


# --- odd bodies ------------------------------------------------------------------------------------------------------


def _body(content: str, usage: object = None) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}], "usage": usage}).encode()


def _reply(content: bytes, purpose: Purpose = Purpose.STEPS) -> Reply:
    reply = read_reply(content, replace(REQUEST, purpose=purpose))
    assert isinstance(reply, Reply)
    return reply


def test_half_a_surrogate_pair_in_a_reply_becomes_a_question_mark() -> None:
    assert _reply(_body("P1 \ud83d E2")).text == "P1 ? E2"
    refusal = json.dumps({"error": {"message": "no \udc00"}}).encode()
    assert read_refusal(400, refusal, {}).message == "answered 400: no ?"
    declined = json.dumps({"choices": [{"message": {"refusal": "no \udc00"}}]}).encode()
    assert getattr(read_reply(declined, REQUEST), "message", "") == "declined: no ?"
    assert served_models(json.dumps({"data": [{"id": "m\ud800"}]}).encode()) == ["m?"]


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"choices":' * 100_000])
def test_a_body_nested_without_end_is_a_bad_body(content: bytes) -> None:
    outcome = read_reply(content, REQUEST)
    assert getattr(outcome, "kind", None) is Failure.BAD_BODY
    assert read_refusal(400, content, {}).kind is Failure.REFUSED
    assert served_models(content) == []


@pytest.mark.parametrize("odd", [10**25, 2**31, -1, True, 3.0, "7", None])
def test_a_count_of_tokens_that_cannot_be_one_is_not_known(odd: object) -> None:
    usage = {"prompt_tokens": odd, "completion_tokens": odd, "prompt_tokens_details": {"cached_tokens": odd}}
    found = _reply(_body("P1", usage)).usage
    assert (found.prompt_tokens, found.output_tokens, found.cached_tokens) == (0, 0, None)
    good = {"prompt_tokens": 2**31 - 1, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    found = _reply(_body("P1", good)).usage
    assert (found.prompt_tokens, found.output_tokens, found.cached_tokens) == (2**31 - 1, 0, 0)


def test_a_body_that_is_too_long_is_a_bad_body() -> None:
    content = _body("P1")
    padded = content + b" " * (MOST_BODY_BYTES - len(content))
    assert _reply(padded).text == "P1"
    outcome = read_reply(padded + b" ", REQUEST)
    assert getattr(outcome, "message", "") == "answered with a body of more than 8 MiB"


def test_a_reply_leaves_it_to_the_conversation_to_count_repairs() -> None:
    assert _reply(_body("P1"), Purpose.STEPS_REPAIR).usage.num_repairs == 0


@pytest.mark.parametrize("wait", ["Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "Mon, 01 Jan 0001 00:00:00 +1200"])
def test_a_date_beyond_all_calendars_is_no_pause(wait: str) -> None:
    assert not read_refusal(429, b"", {"retry-after": wait}).wait_s


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_what_is_named_like_a_secret_is_hidden_at_any_depth() -> None:
    secrets = {"hf_token": SECRET, "apiKey": SECRET, "X-API-KEY": SECRET, "db": {"password": [SECRET, {"a": SECRET}]}}
    assert SECRET not in json.dumps(masked([secrets]))
    assert masked(secrets)["db"] == {"password": [HIDDEN, {"a": HIDDEN}]}


def test_what_is_not_named_like_a_secret_stays() -> None:
    plain = {"max_tokens": 64, "tokenizer": "t", "token": 5, "author": "a", "use_auth": True, "keys": ["k"], "n": None}
    assert masked(plain) == plain
