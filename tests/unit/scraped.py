"""A service's metrics as a scraper reads them."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from serve_app.observe.metrics import Metrics
from serve_app.pools.stats import PoolStats, ReplicaLoad, RouteCounts, ServiceStats
from sprint.types import Rollout

LOADS = (ReplicaLoad("r1", 2, 1, 0.25), ReplicaLoad("r2", 1, 0, 0.75))
STATS = ServiceStats(
    (PoolStats("model", LOADS, RouteCounts(9, 6, 2, 1, 1, 0, 3)), PoolStats("far", (), RouteCounts(4), remote=True)), 5
)


def families_of(text: bytes) -> list[Metric]:
    """What a scraper reads."""
    return [*text_string_to_metric_families(text.decode())]


def samples(metrics: Metrics, stats: ServiceStats | None = None) -> list[Sample]:
    """What a scraper reads, as single numbers."""
    return [sample for family in families_of(metrics.render(stats)) for sample in family.samples]


def value(found: list[Sample], name: str, **labels: str) -> float:
    """The sum of the samples that carry these labels. Fails when there is none."""
    values = [s.value for s in found if s.name == f"sprint_{name}" and labels.items() <= s.labels.items()]
    assert values, f"no sample {name} {labels}"
    return sum(values)


def after(rollouts: Sequence[Rollout]) -> Metrics:
    """A service that has answered these, and turned away or lost some more."""
    metrics = Metrics()
    for rollout in rollouts:
        metrics.started("chat")
        metrics.queued()
        metrics.dequeued(0.02)
        metrics.finished(rollout, "chat")
    for _ in range(4):
        metrics.started("completions")
    metrics.failed(400, "completions")
    metrics.refused("queue_full", "completions")
    metrics.disconnected("completions")
    return metrics
