"""The numbers of the engine pools as Prometheus metrics, read when somebody asks.

It knows `ServiceStats`; where its numbers come from, the deployments know. Samples carry the pool's name and no
replica's: replicas come and go, and each would leave a series behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from serve_app.pools.stats import PoolStats, ServiceStats

GAUGES: tuple[tuple[str, str, Callable[[PoolStats], float | None]], ...] = (
    ("replicas", "Engine replicas that answered.", lambda pool: len(pool.replicas)),
    ("running", "Calls that the engines are decoding.", attrgetter("running")),
    ("waiting", "Calls in the engines' queues.", attrgetter("waiting")),
    ("kv_cache_use_ratio", "Mean share of the engines' KV cache in use, 0 to 1.", attrgetter("kv_cache_use")),
)
COUNTERS = (
    ("calls", "Calls that reached a replica, attempts after a failure included."),
    ("affinity_hits", "Calls that went to the replica that holds their request's prefix."),
    ("spill_overs", "Calls that went elsewhere because that replica was loaded."),
    ("hedges", "Calls that back up a slow one and so went elsewhere on purpose."),
    ("retries", "Calls taken up again elsewhere after their replica failed."),
    ("lost", "Calls given up because no replica was left to take them."),
    ("cancelled", "Calls that their caller left before they had ended."),
)


class PoolCollector(Collector):
    """Says what `stats` say; without them, only which metrics there are."""

    def __init__(self) -> None:
        self.stats: ServiceStats | None = None

    def collect(self) -> Iterator[Family]:
        """One family per number, one sample per pool that knows it."""
        pools = self.stats.pools if self.stats else ()
        for name, text, number in GAUGES:
            gauge = GaugeMetricFamily(f"sprint_pool_{name}", text, labels=["pool"])
            for pool in pools:
                value = number(pool)
                if value is not None:
                    gauge.add_metric([pool.name], value)
            yield gauge
        for name, text in COUNTERS:
            counter = CounterMetricFamily(f"sprint_pool_{name}", text, labels=["pool"])
            for pool in pools:
                counter.add_metric([pool.name], getattr(pool.routes, name))
            yield counter
        yield self._rollouts()

    def _rollouts(self) -> Family:
        family = GaugeMetricFamily("sprint_rollouts_in_progress", "Questions that the planners are answering.")
        if self.stats:
            family.add_metric([], self.stats.rollouts)
        return family
