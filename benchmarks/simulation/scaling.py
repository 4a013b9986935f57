"""How many replicas there should be: Ray Serve's rule, which a test holds against Ray Serve's own functions.

    wanted = calls in flight / target_ongoing_requests, once it has been more (or less) for as long as the delay

It knows numbers and no service.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

RECORD_S, PUSH_S, LOOK_BACK_S, DECIDE_S = 2.0, 10.0, 30.0, 1.0  # Ray Serve's defaults; it decides every 0.1 s
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class ScalingOptions:
    """As in the service's configuration. `start_s`: from the decision until a replica answers."""

    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing_requests: float = 32
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    start_s: float = 60.0


@dataclass
class Scaler:
    """The target, and since when another one has been wanted."""

    options: ScalingOptions
    target: int
    _direction: int = 0
    _since: float = 0.0
    _counts: deque[tuple[float, float]] = field(default_factory=deque)  # calls in flight, as they were recorded
    _seen: float = 0.0  # their mean over the window, as last pushed

    def record(self, now: float, ongoing: float) -> None:
        """So many calls are in flight, waiting ones included."""
        self._counts.append((now, ongoing))
        while self._counts[0][0] < now - LOOK_BACK_S:
            self._counts.popleft()

    def push(self) -> None:
        """What has been recorded reaches whoever decides."""
        if self._counts:
            self._seen = sum(count for _, count in self._counts) / len(self._counts)

    def decide(self, now: float, running: int) -> int:
        """The new target, `running` replicas answering now."""
        wanted = self._bounded(self._wanted(running))
        direction = (wanted > self.target) - (wanted < self.target)
        if direction != self._direction:
            self._direction, self._since = direction, now
        delay_s = self.options.upscale_delay_s if direction > 0 else self.options.downscale_delay_s
        if direction and now - self._since + _SLACK >= delay_s:
            self.target, self._direction = wanted, 0
        return self.target

    def _wanted(self, running: int) -> int:
        if not running:
            return self.target
        return math.ceil(self._seen / self.options.target_ongoing_requests)

    def _bounded(self, wanted: int) -> int:
        return max(self.options.min_replicas, min(self.options.max_replicas, max(1, wanted)))
