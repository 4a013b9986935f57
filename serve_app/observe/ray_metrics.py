"""The ingress' counts at Ray's own metrics agent, beside `/metrics`; off unless asked for (`ray_metrics`).

Who scrapes `/metrics` at the service's address gets the counts of the one ingress replica that answers. With one
replica, the default, that is everything. With several, scrape Ray's agents instead, one per node, as Ray's service
discovery file lists them: every replica reports there, each under labels of its own, beside Ray Serve's own metrics.
There the names have Ray's prefix; one rule in the scrape job takes it off, so that the dashboard fits:

    metric_relabel_configs: [{source_labels: [__name__], regex: "ray_(sprint_.*)", target_label: __name__}]

Samples are copied every few seconds instead of being counted twice, so requests pay nothing. They go as gauges, each
under its own name: Ray has no way to hand over a histogram as it stands, and rates and quantiles only see numbers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from serve_app.observe import logs
from serve_app.observe.metrics import Metrics
from serve_app.pools.stats import ServiceStats

EVERY_S = 5.0

_log = logging.getLogger(__name__)


class RayMirror:
    """Copies the samples of `metrics` to Ray's agent. Ray must be initialised in this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._gauges: dict[str, Any] = {}

    async def run(self, stats: Callable[[], Awaitable[ServiceStats]], every_s: float = EVERY_S) -> None:
        """Copies until it is cancelled; `stats` asks for the numbers of the pools."""
        while True:
            try:
                self.copy(await stats())
            except Exception as error:  # counting must not end because the pools were away for a while
                logs.say(_log, logging.WARNING, "the pools' numbers could not be had", error=error)
                self.copy()
            await asyncio.sleep(every_s)

    def copy(self, stats: ServiceStats | None = None) -> None:
        """Copies once."""
        for family in self._metrics.families(stats):
            for sample in family.samples:
                self._gauge(sample.name, family.documentation, tuple(sample.labels)).set(sample.value, sample.labels)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Any:
        from ray.util.metrics import Gauge

        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, labels)
        return self._gauges[name]
