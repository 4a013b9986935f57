"""The chat endpoint's client against a server that misbehaves: nothing is lost, and everything is counted."""

from __future__ import annotations

import asyncio
import email.utils
import time

import pytest

from pipelines.endpoint.client import Endpoint, EndpointRefused
from pipelines.endpoint.wire import Failure
from sprint.requests import RequestFailed
from tests.edge.asking import asking, configured, question, running, until
from tests.edge.misbehaving import Fault, Faults, MisbehavingServer, closed_url

MENDED = [
    fault for fault in Fault if fault.kind not in ("", "refused", "spent", "timeout") or fault is Fault.REQUEST_TIMEOUT
]
HOPELESS = (Fault.UNAUTHORIZED, Fault.FORBIDDEN, Fault.NOT_FOUND, Fault.NO_QUOTA)


# --- failures that pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", MENDED)
def test_a_failed_attempt_loses_no_request_and_is_counted(fault: Fault) -> None:
    with MisbehavingServer(faults=Faults(script=(fault,) * 5)) as server:
        replies, failures = running(configured(server.url), asking(4))
    assert [reply.text for reply in replies] == [f"question {number}" for number in range(4)]
    assert failures == {fault.kind: 5} == server.expected_failures
    assert sum(reply.usage.num_failures for reply in replies) == 5
    assert len(server.log) == 9


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.DRIP])
def test_the_time_limit_is_for_the_whole_reply(fault: Fault) -> None:
    with MisbehavingServer(faults=Faults(script=(fault,) * 2)) as server:
        replies, failures = running(configured(server.url, timeout_s=3.0), asking(2))
        assert [reply.text for reply in replies] == ["question 0", "question 1"]
        assert failures == {"timeout": 2} == server.expected_failures


def test_everything_at_once_loses_nothing() -> None:
    faults = Faults(rates=dict.fromkeys(MENDED, 0.6 / len(MENDED)), most=4, seed=7)
    with MisbehavingServer(faults=faults) as server:
        replies, failures = running(configured(server.url, concurrency=16), asking(60))
    assert [reply.text for reply in replies] == [f"question {number}" for number in range(60)]
    assert failures == server.expected_failures
    assert sum(failures.values()) == len(server.log) - 60 > 20
    assert {reply.usage.num_calls for reply in replies} == {1}


def test_what_goes_wrong_depends_on_the_seed_alone() -> None:
    def failures() -> tuple[dict[str, int], list[int]]:
        faults = Faults(rates={Fault.SERVER_ERROR: 0.3, Fault.EMPTY_BODY: 0.3}, seed=3)
        with MisbehavingServer(faults=faults) as server:
            replies, counts = running(configured(server.url, concurrency=8), asking(20))
        return counts, [reply.usage.num_failures for reply in replies]

    assert failures() == failures()


def test_distorted_content_is_a_good_answer() -> None:
    with MisbehavingServer(faults=Faults(script=(Fault.INVENTED,)), distort=lambda text: text + " L999") as server:
        replies, failures = running(configured(server.url), asking(1))
    assert replies[0].text == "question 0 L999"
    assert failures == {} == server.expected_failures


def test_a_request_is_given_up_after_the_last_attempt() -> None:
    async def work(client: Endpoint) -> None:
        with pytest.raises(
            RequestFailed, match=r"answered 500: as scripted: server_error \(after 3 attempts\)"
        ) as caught:
            await client.ask(question())
        assert caught.value.usage.num_failures == 3
        assert caught.value.usage.num_calls == 0
        assert (await client.ask(question(1))).text == "question 1"

    with MisbehavingServer(faults=Faults(script=(Fault.SERVER_ERROR,) * 3)) as server:
        running(configured(server.url, max_attempts=3), work)
    assert len(server.log) == 4


def test_nobody_listening_is_a_failed_row() -> None:
    async def work(client: Endpoint) -> None:
        with pytest.raises(RequestFailed, match="cannot be reached"):
            await client.ask(question())
        assert client.failures == {Failure.CONNECTION: 2}

    running(configured(closed_url(), max_attempts=2), work)


# --- load -----------------------------------------------------------------------------------------------------------


def test_one_burst_costs_each_request_one_attempt() -> None:
    with MisbehavingServer(faults=Faults(script=(Fault.RATE_LIMIT,) * 32), latency_s=1.0) as server:
        replies, failures = running(configured(server.url, concurrency=32), asking(32))
    assert [reply.usage.num_failures for reply in replies] == [1] * 32
    assert failures == {"rate_limited": 32}


def test_a_client_finds_the_load_that_an_endpoint_bears() -> None:
    with MisbehavingServer(capacity=4, latency_s=0.05) as server:
        replies, failures = running(configured(server.url, concurrency=32), asking(100))
    assert [reply.text for reply in replies] == [f"question {number}" for number in range(100)]
    assert failures == server.expected_failures


@pytest.mark.parametrize("wait", ["60", "in a minute"])
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.OVERLOADED])
def test_nothing_is_asked_while_the_endpoint_wants_a_pause(fault: Fault, wait: str) -> None:
    retry_after = wait if wait.isdecimal() else email.utils.formatdate(time.time() + 60, usegmt=True)

    async def work(client: Endpoint) -> None:
        first = asyncio.create_task(client.ask(question(0)))
        await until(lambda: len(server.log) == 1 and client.failures.total() == 1)
        done, pending = await asyncio.wait({first, asyncio.create_task(client.ask(question(1)))}, timeout=0.5)
        assert not done
        assert len(server.log) == 1
        for task in pending:
            task.cancel()

    with MisbehavingServer(faults=Faults(script=(fault,), retry_after=retry_after)) as server:
        running(configured(server.url), work)


def test_an_endless_pause_is_a_refusal() -> None:
    async def work(client: Endpoint) -> None:
        with pytest.raises(EndpointRefused, match="asks for a pause of 86400 s"):
            await client.ask(question())

    with MisbehavingServer(faults=Faults(script=(Fault.RATE_LIMIT,), retry_after="86400")) as server:
        running(configured(server.url), work)
    assert len(server.log) == 1


def test_as_many_requests_are_in_flight_as_allowed_and_no_more() -> None:
    with MisbehavingServer(latency_s=0.1) as server:
        running(configured(server.url, concurrency=4), asking(24))
    assert server.peak == 4


@pytest.mark.parametrize("limit", ["max_requests_per_minute", "max_tokens_per_minute"])
def test_a_limit_per_minute_holds_requests_back(limit: str) -> None:
    async def work(client: Endpoint) -> None:
        await client.ask(question(0))
        late = asyncio.create_task(client.ask(question(1)))
        done, _ = await asyncio.wait({late}, timeout=0.5)
        assert not done
        late.cancel()

    with MisbehavingServer() as server:
        running(configured(server.url, **{limit: 1.0}), work)
    assert len(server.log) == 1


def test_cancelled_requests_leave_the_server_and_their_slots() -> None:
    async def work(client: Endpoint) -> None:
        tasks = [asyncio.create_task(client.ask(question(number))) for number in range(6)]  # four wait for a slot
        await until(lambda: server.in_flight == 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: server.in_flight == 0)
        assert all(task.cancelled() for task in tasks)
        assert (await client.ask(question(9))).text == "question 9"

    with MisbehavingServer(faults=Faults(script=(Fault.STALL,) * 2)) as server:
        running(configured(server.url, concurrency=2), work)
    assert len(server.log) == 3


# --- failures that stay ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.BAD_REQUEST, Fault.TOO_LARGE, Fault.DECLINED, Fault.SPENT])
def test_what_would_fail_again_is_not_asked_again(fault: Fault) -> None:
    words = {Fault.DECLINED: "cannot help", Fault.SPENT: "spent all 64 tokens"}.get(fault, f"as scripted: {fault}")

    async def work(client: Endpoint) -> None:
        with pytest.raises(RequestFailed, match=words) as caught:
            await client.ask(question())
        assert caught.value.usage.num_failures == 1
        assert {str(kind): times for kind, times in client.failures.items()} == server.expected_failures

    with MisbehavingServer(faults=Faults(script=(fault,))) as server:
        running(configured(server.url), work)
    assert len(server.log) == 1


@pytest.mark.parametrize("fault", HOPELESS)
def test_a_refusal_stops_the_run_unless_something_worked(fault: Fault) -> None:
    async def work(client: Endpoint) -> None:
        with pytest.raises(EndpointRefused, match=client.config.base_url):
            await client.ask(question(0))
        await client.ask(question(1))
        with pytest.raises(RequestFailed) as caught:
            await client.ask(question(2))
        assert not isinstance(caught.value, EndpointRefused)

    with MisbehavingServer(faults=Faults(script=(fault, None, fault))) as server:
        running(configured(server.url), work)
    assert len(server.log) == 3
