"""OpenTelemetry traces of requests, built after the fact from what a rollout says of itself.

    tracing = from_environment()                   # None unless an endpoint is configured: then nothing is paid
    tracing.record(Request(...), [rollout])        # once a request has ended
    tracing.shutdown()

    request ── queue
            └─ rollout ── round 1 ── plan, execution 1, execution 2, …
                       ├─ join 1
                       ├─ round 2 ── …
                       └─ final answer

A join lasts from the end of a round's last call to the first token of the next: what reading the results again costs.
Spans are made from the timeline when all is over, so sampling tokens waits for nothing. They hold numbers and outcomes,
never text. This file knows records and the SDK, which it imports only when tracing is on; it knows no HTTP server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sprint.errors import ConfigError
from sprint.types import Rollout, StopReason, TimelineSpan

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, SpanKind

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXECUTION = "execution"
NAMES = {"plan": "plan", "final": "final answer", "sequential": "sequential"}
NO_GOOD = {"failed", "timed_out", ""}  # outcomes of calls that are errors; a call that raised has none

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has ended. Its moments are nanoseconds since the epoch, as `time.time_ns` gives them.

    work_ns  when its turn came: its rollouts began then. 0: it never did
    queue_s  seconds that it had waited for its turn
    headers  the request's, of which `traceparent` and `tracestate` say whose child the trace is
    """

    id: str
    method: str
    path: str
    status: int
    started_ns: int
    ended_ns: int
    work_ns: int = 0
    queue_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


def from_environment(endpoint: str | None = None) -> Tracing | None:
    """Tracing to the OTLP collector at `endpoint`, or where OpenTelemetry's own variables say; None where neither does.

    Traces go by HTTP, as protobuf. Raises ConfigError for an endpoint that is no URL, and for another protocol.
    """
    if not endpoint and not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"tracing endpoint is {endpoint!r}, expected a URL such as http://localhost:4318")
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigError(f"{PROTOCOLS[1]} is {protocol!r}, and traces are only sent as 'http/protobuf'")
    return Tracing(_otlp(endpoint))


def _otlp(endpoint: str | None) -> SpanProcessor:
    """Sends spans from a thread of its own; what a collector that is away cannot take is dropped."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(f"tracing needs the packages of opentelemetry-exporter-otlp: {error}") from None
    return BatchSpanProcessor(OTLPSpanExporter(endpoint and f"{endpoint.rstrip('/')}/v1/traces"))


class Tracing:
    """Makes one trace per request and hands it to `processor`."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        name = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "sprint"}
        self._provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sprint")

    def record(self, request: Request, rollouts: Sequence[Rollout] = ()) -> None:
        """The trace of a request and of the rollouts that answered it. A parent that is not sampled has no children."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({key.lower(): text for key, text in request.headers.items()})
        root = self._start(f"{request.method} {request.path}", request.started_ns, parent, SpanKind.SERVER)
        if root.is_recording():
            root.set_attributes(_of_request(request))
            if request.queue_s:
                self._start("queue", request.work_ns - _ns(request.queue_s), root).end(request.work_ns)
            for rollout in rollouts:
                self._rollout(rollout, request.work_ns, root)
        _end(root, request.ended_ns, failed=request.status >= 500)

    def shutdown(self) -> None:
        """Sends what is left and ends the sender."""
        self._provider.shutdown()

    def _rollout(self, rollout: Rollout, began: int, parent: Span) -> None:
        span = self._start("rollout", began, parent)
        span.set_attributes(_of_rollout(rollout))
        for call in rollout.timeline:
            if call.kind != EXECUTION and call.kind != "plan":
                self._call(call, began, span)
        for calls in rounds_of(rollout.timeline):
            self._round(calls, rollout.timeline, began, span)
        _end(span, began + _ns(rollout.usage.wall_s), failed=rollout.stop_reason is StopReason.FAILED)

    def _round(self, calls: Sequence[TimelineSpan], timeline: Sequence[TimelineSpan], began: int, parent: Span) -> None:
        number, ended_s = calls[0].round, max(map(_ended_s, calls))
        span = self._start(f"round {number}", began + _ns(min(call.start_s for call in calls)), parent)
        span.set_attributes({"sprint.round": number, "sprint.width": len({call.number for call in calls} - {0})})
        for call in calls:
            self._call(call, began, span)
        span.end(began + _ns(ended_s))
        after = next((call for call in timeline if call.kind != EXECUTION and call.start_s >= ended_s), None)
        if after is not None and any(call.kind == EXECUTION for call in calls):
            join = self._start(f"join {number}", began + _ns(ended_s), parent)
            join.set_attributes({"sprint.round": number, **_prompt(after)})
            join.end(began + _ns(_ended_s(after) if after.first_token_s is None else after.first_token_s))

    def _call(self, call: TimelineSpan, began: int, parent: Span) -> None:
        name = f"execution {call.number}" if call.kind == EXECUTION else NAMES.get(call.kind, call.kind)
        span = self._start(name, began + _ns(call.start_s), parent)
        span.set_attributes(_of_call(call))
        if call.first_token_s is not None:
            span.add_event("first token", timestamp=began + _ns(call.first_token_s))
        _end(span, began + _ns(_ended_s(call)), failed=call.outcome in NO_GOOD)

    def _start(self, name: str, at_ns: int, parent: Context | Span, kind: SpanKind | None = None) -> Span:
        from opentelemetry.trace import Span, SpanKind, set_span_in_context

        context = set_span_in_context(parent) if isinstance(parent, Span) else parent
        return self._tracer.start_span(name, context, kind or SpanKind.INTERNAL, start_time=at_ns)


def rounds_of(timeline: Sequence[TimelineSpan]) -> Iterator[list[TimelineSpan]]:
    """The plans and executions of each round, in order. A rollout that began again has its first rounds twice."""
    found: dict[tuple[int, int], list[TimelineSpan]] = {}
    tries = latest = 0
    for call in timeline:
        tries += call.round < latest
        latest = call.round
        if call.kind in ("plan", EXECUTION):
            found.setdefault((tries, call.round), []).append(call)
    yield from found.values()


# --- what spans hold -------------------------------------------------------------------------------------------------


def _of_request(request: Request) -> Attributes:
    return {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": request.status,
        "sprint.request_id": request.id,
    }


def _of_rollout(rollout: Rollout) -> Attributes:
    usage = rollout.usage
    counts = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.generated_tokens,
        "sprint.pipelined_tokens": usage.pipelined_tokens,
        "sprint.rounds": usage.num_rounds,
        "sprint.executions": usage.num_executions,
        "sprint.retries": usage.num_retries,
        "sprint.hedges": usage.num_hedges,
    }
    return {"sprint.stop_reason": str(rollout.stop_reason)} | counts


def _of_call(call: TimelineSpan) -> Attributes:
    made: Attributes = {"sprint.outcome": str(call.outcome), "gen_ai.usage.output_tokens": call.generated_tokens}
    return {"sprint.round": call.round, "sprint.number": call.number, **made, **_prompt(call)}


def _prompt(call: TimelineSpan) -> Attributes:
    known = {} if call.cached_tokens is None else {"sprint.cached_tokens": call.cached_tokens}
    return {"gen_ai.usage.input_tokens": call.prompt_tokens} | known


def _ended_s(call: TimelineSpan) -> float:
    """When a call ended; one that raised may not say."""
    return max(call.end_s, call.start_s)


def _end(span: Span, at_ns: int, *, failed: bool) -> None:
    from opentelemetry.trace import StatusCode

    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(at_ns)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
