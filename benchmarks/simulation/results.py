"""What came of a simulated load: speed, waiting, where calls went, who was busy. It reads a service, runs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.simulation.service import Asked, Service


@dataclass(frozen=True, slots=True)
class Results:
    """Shares are from 0 to 1, seconds are virtual.

    wall_s         until the last answer
    in_engines     mean number of sequences in a step
    waiting        calls in the engines' queues, running: those being decoded; means over time
    engine_busy    share of the time in which an engine takes steps, the mean of them
    planner_busy   share of the time in which a planner's thread works, the busiest of them
    affinity       calls that went where their request's prefix is
    cached         prompt tokens that were in the replica's prefix cache
    """

    answered: int
    refused: int
    wall_s: float
    requests_per_s: float
    tokens_per_s: float
    p50_s: float
    p99_s: float
    calls_per_request: float
    in_engines: float
    waiting: float
    running: float
    engine_busy: float
    planner_busy: float
    ingress_busy: float
    affinity: float
    cached: float


def results(service: Service, asked: Sequence[Asked], began_s: float = 0.0) -> Results:
    """Of all that was asked since `began_s`."""
    ended = [each for each in asked if not math.isnan(each.end_s) and each.began_s >= began_s]
    answered = [each for each in ended if not each.refused]
    wall_s = max((each.end_s for each in answered), default=began_s) - began_s
    seconds = [each.end_s - each.began_s for each in answered]
    engines = [r.engine.totals for pool in service.pools for r in (*pool.replicas.values(), *pool.gone)]
    steps = sum(totals.steps for totals in engines)
    tallies = [router.tally for pool in service.pools for router in pool.routers]
    prompts = sum(totals.prompt_tokens for totals in engines)
    whole_s = service.clock.now or 1.0
    span_s = wall_s or 1.0
    return Results(
        len(answered),
        len(ended) - len(answered),
        wall_s,
        len(answered) / span_s,
        sum(each.structure.written_tokens for each in answered) / span_s,
        _quantile(seconds, 0.5),
        _quantile(seconds, 0.99),
        sum(each.calls for each in answered) / max(1, len(answered)),
        sum(totals.sequence_steps for totals in engines) / max(1, steps),
        _mean([waiting for waiting, _ in service.seen]),
        _mean([running for _, running in service.seen]),
        sum(totals.busy_s for totals in engines) / whole_s / max(1, len(engines)),
        max(process.used_s for process in service.planners) / whole_s,
        max(process.used_s for process in service.ingresses) / whole_s,
        sum(tally.affinity_hits for tally in tallies) / max(1, sum(tally.calls for tally in tallies)),
        sum(totals.cached_tokens for totals in engines) / max(1, prompts),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _quantile(values: Iterable[float], share: float) -> float:
    """As the service benchmark takes it: the value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
