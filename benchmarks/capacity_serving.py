"""Serving in GPU-hours and money, and how it grows: predictions of the simulation, put into tables.

It knows the simulation and the options of `capacity`; nothing is started.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from benchmarks.simulation.engine import EngineOptions, StepTimes
from benchmarks.simulation.measured import CHOICE, COSTS
from benchmarks.simulation.options import ServiceOptions
from benchmarks.simulation.reckoned import GPUS, QWEN_7B, Assumed, engine_options, step_times
from benchmarks.simulation.results import Results, results
from benchmarks.simulation.workload import closed_loop
from benchmarks.structures import draw

Markdown = Callable[..., str]
CLIENTS = (1, 8, 32, 128)
QUESTIONS = 3  # that each client asks, 40 at least
MANY_CLIENTS = 2000  # so many ask two questions each, which is long enough
PLANNER_SHARE = 0.6  # of a planner's thread that may be busy before everything waits for it


@dataclass(frozen=True, slots=True)
class Point:
    """One replica at so many clients. `rate`: questions a second while all of them ask (clients / mean seconds)."""

    clients: int
    rate: float
    results: Results


@cache
def points(gpu: str, seed: int) -> tuple[Point, ...]:
    """One replica of the 7B model, by clients."""
    service = ServiceOptions(*_engine(gpu), COSTS)
    return tuple(_point(service, clients, seed) for clients in CLIENTS)


def _engine(gpu: str) -> tuple[StepTimes, EngineOptions]:
    return step_times(QWEN_7B, GPUS[gpu], Assumed()), engine_options(QWEN_7B, GPUS[gpu], Assumed())


def _point(service: ServiceOptions, clients: int, seed: int) -> Point:
    count = max(40, (QUESTIONS if clients < MANY_CLIENTS else 2) * clients)
    ran, asked = closed_loop(service, draw(count, seed), clients)
    mean_s = statistics.fmean(each.end_s - each.began_s for each in asked)
    return Point(clients, clients / mean_s, results(ran, asked))


def serving(args: argparse.Namespace, markdown: Markdown) -> Iterator[str]:
    times = step_times(QWEN_7B, GPUS[args.gpu], Assumed())
    yield markdown(
        "Serving: what goes in",
        ("what", "value", "from"),
        (
            ("answers: 13 calls, 2,500 tokens of critical path", "drawn as the paper's outputs are", "published"),
            (f"{args.gpu}: bf16 peak, bandwidth", _device(args.gpu), "published"),
            ("shares of bandwidth / peak that an engine reaches", "65 % / 50 %", "assumed"),
            ("→ a step with one sequence / more for each", f"{times.base_s * 1e3:.1f} ms / 20 µs", "assumed"),
            ("→ prompt token / token looked back at", _tokens(times.prefill_s, times.context_s), "assumed"),
            ("planner, CPU ms a call / a message", _ms(COSTS.call_s, COSTS.message_s), "measured"),
            ("replica's process, CPU ms a call / a message", _ms(COSTS.taken_s, COSTS.said_s), "measured"),
            ("door, CPU ms a request", f"{COSTS.ingress_s * 1e3:.0f}", "measured"),
            ("price of a GPU-hour", f"{args.gpu_hour}", "assumed"),
        ),
    )
    found = points(args.gpu, args.seed)
    yield markdown(
        "One replica of a 7B model on one GPU (predicted)",
        ("clients", "questions/s", "tokens/s", "p50, s", "p99, s", "sequences in a step", "a question's GPU-seconds"),
        [_shown(each) for each in found],
    )
    heads = [f"p50 {each.results.p50_s:.0f} s: GPUs, price an hour" for each in found[1:]]
    yield markdown("R questions a second (predicted)", ("R", *heads, "planners"), _served(args, found[1:]))


def _device(gpu: str) -> str:
    return f"{GPUS[gpu].flops / 1e12:.0f} TFLOP/s, {GPUS[gpu].bandwidth / 1e12:.2f} TB/s"


def _tokens(prefill_s: float, context_s: float) -> str:
    return f"{prefill_s * 1e6:.0f} µs / {context_s * 1e9:.0f} ns"


def _ms(one: float, other: float) -> str:
    return f"{one * 1e3:.1f} / {other * 1e3:.1f}"


def _shown(point: Point) -> tuple[str, ...]:
    found = point.results
    tokens = point.rate * found.tokens_per_s / found.requests_per_s
    return (
        str(point.clients), f"{point.rate:.2f}", f"{tokens:,.0f}", f"{found.p50_s:.0f}", f"{found.p99_s:.0f}",
        f"{found.in_engines:.0f}", f"{1 / point.rate:.1f}",
    )  # fmt: skip


def planner_s(point: Point) -> float:
    """Seconds of a planner's thread for one question, few replicas to choose from."""
    found = point.results
    return found.planner_busy / found.requests_per_s


def _served(args: argparse.Namespace, found: tuple[Point, ...]) -> Iterator[tuple[str, ...]]:
    for rate in map(float, args.rates.split(",")):
        gpus = [math.ceil(rate / each.rate) for each in found]
        cells = [f"{count}, {count * args.gpu_hour:,.2f}" for count in gpus]
        planners = math.ceil(rate * planner_s(found[0]) / PLANNER_SHARE)
        yield f"{rate:g}", *cells, str(planners)


# --- growth ----------------------------------------------------------------------------------------------------------


def growth(args: argparse.Namespace, markdown: Markdown) -> Iterator[str]:
    """More replicas with as many clients each: with one planner, and with enough of them."""
    one = _point(ServiceOptions(*_engine(args.gpu), COSTS), args.per_replica, args.seed)
    rows = [
        _grown(args, one, replicas, planners)
        for replicas in map(int, args.replicas.split(","))
        for planners in dict.fromkeys((1, planners_for(one, replicas)))
    ]
    yield markdown(
        f"Growth: {args.per_replica} clients for each replica (predicted)",
        ("replicas", "planners", "questions/s", "of linear", "p50, s", "p99, s", "affinity", "cached", "planner busy"),
        rows,
    )


def planners_for(one: Point, replicas: int) -> int:
    """Planners for so many replicas, each at the load of `one`, what choosing among them costs included."""
    a_question_s = planner_s(one) + one.results.calls_per_request * choice_s(replicas)
    return math.ceil(replicas * one.rate * a_question_s / PLANNER_SHARE)


def choice_s(replicas: int) -> float:
    """Seconds of one choice among so many replicas: straight lines between what was measured."""
    known = sorted(CHOICE.items())
    for (low, low_s), (high, high_s) in pairwise(known):
        if replicas <= high:
            return low_s + (high_s - low_s) * (replicas - low) / (high - low)
    return known[-1][1] * replicas / known[-1][0]


def _grown(args: argparse.Namespace, one: Point, replicas: int, planners: int) -> tuple[str, ...]:
    costs = replace(COSTS, choice_s=choice_s(replicas) / replicas)
    engine = _engine(args.gpu)
    service = ServiceOptions(*engine, costs, replicas=replicas, num_planners=planners, num_ingresses=planners)
    point = _point(service, args.per_replica * replicas, args.seed)
    found = point.results
    return (
        f"{replicas:,}", str(planners), f"{point.rate:,.2f}", f"{point.rate / (one.rate * replicas):.0%}",
        f"{found.p50_s:.0f}", f"{found.p99_s:.0f}", f"{found.affinity:.1%}", f"{found.cached:.1%}",
        f"{found.planner_busy:.0%}",
    )  # fmt: skip
