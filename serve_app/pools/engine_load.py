"""What a vLLM engine says of itself after each step: calls running and waiting, and how full its KV cache is.

It knows vLLM's door for statistics, and takes the place of the Prometheus registry that vLLM would otherwise fill.
vLLM is imported when an engine is about to be made.
"""

from __future__ import annotations

from typing import Any


class EngineLoad:
    """The last step's numbers. `logger` is what vLLM is given."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.kv_cache_use: float | None = None

    def take(self, scheduler: Any) -> None:
        """The scheduler's numbers after a step."""
        self.running = scheduler.num_running_reqs
        self.waiting = scheduler.num_waiting_reqs + scheduler.num_skipped_waiting_reqs
        self.kv_cache_use = scheduler.kv_cache_usage

    def logger(self) -> Any:
        """A factory of what vLLM calls a stat logger."""
        from vllm.v1.metrics.loggers import PrometheusStatLogger

        load = self

        class Logger(PrometheusStatLogger):
            """Of that class, so that vLLM does not add its own."""

            def __init__(self, vllm_config: Any, engine_indexes: Any = None) -> None:
                """Registers nothing."""

            def record(self, scheduler_stats: Any, *args: Any, **kwargs: Any) -> None:
                if scheduler_stats is not None:
                    load.take(scheduler_stats)

            def log(self) -> None:
                """Says nothing."""

            def log_engine_initialized(self) -> None:
                """Says nothing."""

            def record_sleep_state(self, *args: Any, **kwargs: Any) -> None:
                """Says nothing."""

        return Logger
