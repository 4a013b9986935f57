"""What the service counts, in Prometheus' words: requests at the door and the rollouts that answered them.

    metrics.started("chat")            # a request arrived; then exactly one of the following ends it:
    metrics.finished(rollout, "chat")  # it was answered, well or not (stop reason `failed` included)
    metrics.completed(usage, "chat")   # it was answered by one call, without a rollout
    metrics.failed(400, "chat")        # it got an error, or its stream ended in one
    metrics.refused("queue_full")      # the house was full
    metrics.disconnected("chat")       # its client went away first

A request that waits in between says so with `queued` and `dequeued`. A request that needs several rollouts passes all
but the last to `observed`. Labels hold enums, statuses and names from the code; what clients write never becomes one.

This file knows records, not HTTP, Ray or models. Each object keeps its own registry, so there may be several in one
process. Who runs several ingress replicas finds in `ray_metrics` how their counts are put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client import Metric as Family

from serve_app.observe.pool_metrics import PoolCollector
from serve_app.pools.stats import ServiceStats
from sprint.types import ExecutionOutcome, Failure, Rollout, StopReason
from sprint.usage import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"  # the label of what has no name of its own
MOST_LABELS = 32  # values of one label; whatever comes after them is `other`
MODES = ROUNDS, SEQUENTIAL = "rounds", "sequential"
REPORTED, UNREPORTED = "reported", "unreported"

COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32)
RATIOS = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8, 16)
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Counters that are sums of one number of each rollout's usage: the field, and what the metric says.
SUMS = {
    "paper_sequential_tokens": "Critical path by the paper's formula.",
    "pipelined_tokens": "Critical path where an execution starts as soon as its prompt closes, as it does here.",
    "barrier_tokens": "Critical path had executions waited for the end of their plan.",
    "generated_tokens": "Tokens sampled, discarded ones included.",
    "runtime_tokens": "Tokens of tags that the runtime wrote, never sampled.",
    "join_prefill_tokens": "Tokens of executions that the planner read again when they joined.",
    "discarded_tokens": "Sampled tokens that were thrown away: resampled, hedged or left out.",
    "num_retries": "Calls made again because a text was too long or an answer was missing.",
    "num_hedges": "Calls made a second time because the first was slow.",
    "planning_s": "Seconds during which rollouts were sampling their planner.",
    "executing_s": "Seconds during which rollouts were sampling at least one execution.",
    "waiting_s": "Of the executing seconds, those in which the planner could only wait.",
    "prefill_s": "Of the planning seconds, those before the first token of a planner's call.",
}


class Metrics:
    """The counters of one ingress process."""

    def __init__(self) -> None:
        self.registry = LeanRegistry()
        self._labels: dict[str, set[str]] = {}
        self._pools = PoolCollector()
        self.registry.register(self._pools)
        ProcessCollector(namespace="sprint", registry=self.registry)
        self._make_door()
        self._make_rollouts()

    # --- the door ----------------------------------------------------------------------------------------------------

    def started(self, endpoint: str = OTHER) -> None:
        """A request arrived."""
        self._in_flight.labels(self._bounded("endpoint", endpoint)).inc()

    def finished(self, rollout: Rollout, endpoint: str = OTHER) -> None:
        """A request was answered by `rollout`; its outcome is the stop reason."""
        self.observed(rollout)
        self._ended(endpoint, rollout.stop_reason)

    def completed(self, usage: Usage, endpoint: str = OTHER) -> None:
        """A request was answered by one call's plain text; `usage` holds its tokens and, if known, its clocks."""
        self._observe_usage(usage)
        self._ended(endpoint, "completed")

    def failed(self, status: int, endpoint: str = OTHER) -> None:
        """A request got an error of HTTP `status` and no rollout."""
        self._ended(endpoint, str(status))

    def refused(self, reason: str, endpoint: str = OTHER) -> None:
        """A request was turned away because the service was full; `reason` names the bound it met."""
        self._refused.labels(self._bounded("reason", reason)).inc()
        self._ended(endpoint, "refused")

    def disconnected(self, endpoint: str = OTHER) -> None:
        """A client went away before its answer was complete."""
        self._disconnected.inc()
        self._ended(endpoint, "disconnected")

    def queued(self) -> None:
        """A request begins to wait for admission."""
        self._queued.inc()

    def dequeued(self, seconds: float) -> None:
        """A request waits no more, admitted or not, after `seconds`."""
        self._queued.dec()
        self._queue_seconds.observe(seconds)

    def _ended(self, endpoint: str, outcome: str) -> None:
        label = self._bounded("endpoint", endpoint)
        self._in_flight.labels(label).dec()
        self._requests.labels(label, self._bounded("outcome", outcome)).inc()

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def observed(self, rollout: Rollout) -> None:
        """Counts a rollout, not a request."""
        self._observe_usage(rollout.usage)
        self._wall_seconds.observe(rollout.usage.wall_s)
        if rollout.stop_reason is StopReason.FAILED:
            self._failures.labels(rollout.failure or Failure.ENGINE).inc()
        for span in rollout.timeline:
            self._calls.labels(span.kind, span.outcome or "unfinished").inc()
        if rollout.trajectory is None:
            self._rollouts.labels(SEQUENTIAL).inc()
            return
        self._rollouts.labels(ROUNDS).inc()
        self._rounds.observe(rollout.usage.num_rounds)
        for done in rollout.trajectory.rounds:
            self._width.observe(len(done.executions))
            for execution in done.executions:
                self._executions.labels(execution.outcome).inc()
        if rollout.usage.pipelined_tokens:
            self._speedup.observe(rollout.usage.generated_tokens / rollout.usage.pipelined_tokens)

    def _observe_usage(self, usage: Usage) -> None:
        for field, counter in self._sums:
            counter.inc(max(0, getattr(usage, field)))  # a wrong number must not cost a client its answer
        known = usage.cached_prompt_tokens is not None
        self._prompt_tokens.labels(REPORTED if known else UNREPORTED).inc(usage.prompt_tokens)
        self._cached_tokens.inc(usage.cached_prompt_tokens or 0)
        if usage.time_to_first_token_s is not None:
            self._first_token_seconds.observe(usage.time_to_first_token_s)

    # --- reading -----------------------------------------------------------------------------------------------------

    def render(self, stats: ServiceStats | None = None) -> bytes:
        """Everything as Prometheus' text (`CONTENT_TYPE`), with the pools' numbers where `stats` are known."""
        self._pools.stats = stats
        return generate_latest(self.registry)

    def families(self, stats: ServiceStats | None = None) -> Iterator[Family]:
        """The same as records."""
        self._pools.stats = stats
        return self.registry.collect()

    # --- making ------------------------------------------------------------------------------------------------------

    def _make_door(self) -> None:
        self._requests = self._counter("requests", "Requests that ended, by stop reason or status.", "endpoint outcome")
        self._in_flight = Gauge(
            "sprint_requests_in_flight",
            "Requests that arrived and have not ended.",
            ["endpoint"],
            registry=self.registry,
        )
        self._queued = Gauge("sprint_requests_queued", "Requests waiting for admission.", registry=self.registry)
        self._refused = self._counter("requests_refused", "Requests turned away at a bound.", "reason")
        self._disconnected = self._counter("requests_disconnected", "Requests whose client went away first.")
        self._queue_seconds = self._histogram("queue_seconds", "Seconds that requests waited for admission.", SECONDS)

    def _make_rollouts(self) -> None:
        self._rollouts = self._counter("rollouts", "Rollouts that ended, in rounds or sequential.", "mode", MODES)
        self._failures = self._counter(
            "rollout_failures", "Rollouts whose engine failed under the planner, by cause.", "failure", tuple(Failure)
        )
        self._calls = self._counter("calls", "Calls to a model that rollouts made, by what they wrote.", "kind outcome")
        self._executions = self._counter(
            "executions", "Executions that were joined, by outcome.", "outcome", tuple(ExecutionOutcome)
        )
        self._sums = [(field, self._counter(_name(field), text)) for field, text in SUMS.items()]
        self._prompt_tokens = self._counter(
            "prompt_tokens",
            "Tokens sent to the engine, by whether it reports what its prefix cache served.",
            "cache",
            (REPORTED, UNREPORTED),
        )
        self._cached_tokens = self._counter("cached_prompt_tokens", "Prompt tokens served from the prefix cache.")
        self._rounds = self._histogram("rounds", "Rounds of a rollout in rounds.", COUNTS)
        self._width = self._histogram("round_width", "Executions of a round.", COUNTS)
        self._speedup = self._histogram(
            "parallel_speedup_ratio", "Generated tokens over pipelined tokens of a rollout in rounds.", RATIOS
        )
        self._wall_seconds = self._histogram("rollout_seconds", "Seconds that a rollout took.", SECONDS)
        self._first_token_seconds = self._histogram(
            "time_to_first_token_seconds", "Seconds from the start of an answer to its first token.", SECONDS
        )

    def _counter(self, name: str, text: str, labels: str = "", known: Sequence[str] = ()) -> Counter:
        """A counter, at 0 for the values of its label that are known: a rate is blind to a series' first sample."""
        counter = Counter(f"sprint_{name}", text, labels.split(), registry=self.registry)
        for value in known:
            counter.labels(value)
        return counter

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"sprint_{name}", text, registry=self.registry, buckets=buckets)

    def _bounded(self, label: str, value: str) -> str:
        """`value`, unless the label has as many values as it may have."""
        known = self._labels.setdefault(label, {OTHER})
        if value not in known:
            if len(known) >= MOST_LABELS:
                return OTHER
            known.add(value)
        return value


def _name(field: str) -> str:
    """The metric of a usage's field: units are spelt out."""
    return re.sub(r"_s$", "_seconds", field.removeprefix("num_"))


class LeanRegistry(CollectorRegistry):
    """A registry without the time at which each series was made: it doubles the series and says nothing here."""

    def collect(self) -> Iterator[Family]:
        """The metrics."""
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
