"""Laws of traces: a tree that says what the timeline says, and nothing of what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.observe.tracing import Request, Tracing, from_environment, rounds_of
from sprint.errors import ConfigError
from sprint.types import Rollout, TimelineSpan
from tests.edge.otlp import collector
from tests.unit.rollouts import all_kinds, failed, in_rounds, sequential

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
START = 1_700_000_000_000_000_000
WORK = START + 10**8
VARIABLES = ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


def request(rollouts: Sequence[Rollout] = (), status: int = 200, **values: Any) -> tuple[Request, Sequence[Rollout]]:
    """A request that waited a little, was answered by these, and ended when the last of them did."""
    ended = WORK + max((round(rollout.usage.wall_s * 1e9) for rollout in rollouts), default=0) + 10**6
    return Request("r-1", "POST", "/v1/chat/completions", status, START, ended, WORK, **values), rollouts


def traced(*rollouts: Rollout, **values: Any) -> list[ReadableSpan]:
    """The spans, those that began first in front."""
    kept = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(kept))
    tracing.record(*request(rollouts, **values))
    tracing.shutdown()
    return sorted(kept.get_finished_spans(), key=lambda span: span.start_time or 0)


def tree(spans: Sequence[ReadableSpan]) -> dict[str, list[str]]:
    """The names of the children of every span that has some."""
    names = {span.context.span_id: span.name for span in spans if span.context}
    children: dict[str, list[str]] = {}
    for span in spans:
        if span.parent:
            children.setdefault(names.get(span.parent.span_id, "outside"), []).append(span.name)
    return children


def test_a_request_is_a_tree_of_its_rounds() -> None:
    found = tree(traced(in_rounds(), queue_s=0.05))
    assert found["POST /v1/chat/completions"] == ["queue", "rollout"]
    assert found["rollout"] == ["round 1", "join 1", "round 2", "join 2", "final answer"]
    assert found["round 1"] == ["plan", "execution 1", "execution 2"]
    assert found["round 2"] == ["plan", "execution 1"]


def test_what_is_written_in_one_breath_is_one_call() -> None:
    assert tree(traced(sequential()))["rollout"] == ["sequential"]


@pytest.mark.parametrize("rollout", all_kinds(), ids=lambda rollout: str(rollout.stop_reason))
def test_spans_last_as_long_as_the_timeline_says_and_lie_within_their_parents(rollout: Rollout) -> None:
    spans = traced(rollout)
    by_id = {span.context.span_id: span for span in spans if span.context}
    calls = [span for span in spans if "sprint.outcome" in (span.attributes or {})]
    assert len(calls) == len(rollout.timeline)
    expected = [WORK + round(call.start_s * 1e9) for call in sorted(rollout.timeline, key=lambda call: call.start_s)]
    assert [span.start_time for span in calls] == pytest.approx(expected, abs=2)
    for span in spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time, span.name
        if span.parent:
            parent = by_id[span.parent.span_id]
            assert parent.start_time is not None
            assert parent.end_time is not None
            assert parent.start_time <= span.start_time, span.name
            assert span.end_time <= parent.end_time, span.name


def test_spans_hold_the_counts_and_none_of_the_text() -> None:
    rollout = in_rounds()
    spans = traced(rollout)
    tokens = [(span.attributes or {}).get("gen_ai.usage.output_tokens") for span in spans]
    assert sum(count for span, count in zip(spans, tokens, strict=True) if span.name != "rollout" and count) == (
        rollout.usage.generated_tokens
    )
    (whole,) = [span.attributes for span in spans if span.name == "rollout"]
    assert whole is not None
    assert whole["gen_ai.usage.output_tokens"] == rollout.usage.generated_tokens
    assert whole["sprint.stop_reason"] == "answered"
    assert "secret" in rollout.text
    assert not [span for span in spans if "secret" in span.to_json()]


def test_what_failed_is_marked_as_an_error() -> None:
    errors = [span.name for span in traced(failed(), status=503) if not span.status.is_ok]
    assert errors == ["POST /v1/chat/completions", "rollout", "plan"]
    assert not [span.name for span in traced(in_rounds()) if not span.status.is_ok]


def test_every_choice_is_a_rollout_of_its_own() -> None:
    assert tree(traced(in_rounds(), sequential()))["POST /v1/chat/completions"] == ["rollout", "rollout"]


def test_a_request_without_an_answer_is_still_told() -> None:
    (span,) = traced(status=400)
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 400
    assert span.attributes["sprint.request_id"] == "r-1"
    assert span.status.is_ok, "the client's mistake is not the service's"


# --- parents ---------------------------------------------------------------------------------------------------------


def test_a_trace_goes_on_where_the_client_began_it() -> None:
    spans = traced(in_rounds(), headers={"Traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert {f"{span.context.trace_id:032x}" for span in spans if span.context} == {TRACE}
    root = next(span for span in spans if span.name.startswith("POST"))
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT


def test_what_the_client_does_not_sample_is_not_sampled() -> None:
    assert traced(in_rounds(), headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}) == []


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}", "\x00" * 55])
def test_a_header_that_says_nothing_begins_a_new_trace(header: str) -> None:
    spans = traced(sequential(), headers={"traceparent": header})
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert next(span for span in spans if span.name.startswith("POST")).parent is None


# --- rounds ----------------------------------------------------------------------------------------------------------


def test_a_rollout_that_began_again_has_its_first_rounds_twice() -> None:
    kinds = [("plan", 1), ("execution", 1), ("plan", 2), ("final", 3), ("plan", 1), ("execution", 1), ("final", 2)]
    timeline = [TimelineSpan(kind, round, 0, 0.0, None, 1.0, 1, 1, None, "x") for kind, round in kinds]
    assert [[call.kind for call in calls] for calls in rounds_of(timeline)] == [
        ["plan", "execution"],
        ["plan"],
        ["plan", "execution"],
    ]


# --- where it goes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sent_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with collector() as found:
        yield found


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_collector_gets_the_whole_trace(sent_to: Any, by_variable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_variable:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sent_to.url)
    tracing = from_environment(None if by_variable else sent_to.url)
    assert tracing is not None
    tracing.record(*request([in_rounds()]))
    tracing.shutdown()
    assert sent_to.paths == {"/v1/traces"}
    assert sent_to.services == {"sprint"}
    names = sorted(span.name for span in sent_to.spans)
    assert names.count("plan") == 2
    assert len(names) == len(traced(in_rounds()))


def test_it_is_off_unless_somebody_says_where_to_send_it() -> None:
    assert from_environment() is None


def test_an_endpoint_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected a URL such as http://localhost:4318"):
        from_environment("localhost:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigError, match="only sent as 'http/protobuf'"):
        from_environment("http://localhost:4318")


def test_a_collector_that_is_away_is_reported_and_costs_a_request_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with collector() as gone:
        pass
    tracing = from_environment(gone.url)
    assert tracing is not None
    tracing.record(*request([sequential()]))
    assert caplog.text == "", "nothing has been sent yet"
    tracing.shutdown()
    assert "Failed to export" in caplog.text
