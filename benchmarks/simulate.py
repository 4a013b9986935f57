"""Predicts the service: how fast, how long people wait, where calls go, who is busy. Nothing is started.

    python -m benchmarks.simulate [--replicas 1,2,4,8] [--per-replica 16] [--planners 1] [--gpu H100] [--rate R]

Answers have the published model's structure (`structures`). Clients ask again when they are answered, `--per-replica`
of them for each replica, or with `--rate` questions arrive as a Poisson process. Engines have step times reckoned from
model and device; what the processes around them cost is measured (deploy/capacity.md says when).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.simulation.measured import COSTS
from benchmarks.simulation.options import ServiceOptions
from benchmarks.simulation.reckoned import GPUS, QWEN_7B, Assumed, engine_options, step_times
from benchmarks.simulation.results import Results, results
from benchmarks.simulation.scaling import ScalingOptions
from benchmarks.simulation.workload import closed_loop, open_loop
from benchmarks.structures import draw, scaled

_PATIENCE = 3  # questions that each client asks


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table."""

    replicas: int
    planners: int
    clients: int
    results: Results
    took_s: float


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2,4,8", help="separated by commas (default 1,2,4,8)")
    parser.add_argument("--per-replica", type=int, default=16, help="clients for each replica (default 16)")
    parser.add_argument("--rate", type=float, help="questions a second for each replica, instead of clients")
    parser.add_argument("--planners", default="1", help="planner replicas; `N/` is one for every N replicas")
    parser.add_argument("--margin", type=int, default=16, help="spill_over_margin (default 16)")
    parser.add_argument("--gpu", choices=sorted(GPUS), default="H100")
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--scale", type=float, default=1.0, help="shortens every part of an answer (default 1: whole)")
    parser.add_argument("--max-replicas", type=int, help="scale out to so many, as Ray Serve does")
    parser.add_argument("--target", type=float, default=32, help="target_ongoing_requests (default 32)")
    parser.add_argument("--start-s", type=float, default=60.0, help="from the decision to a replica that answers")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def options(args: argparse.Namespace) -> ServiceOptions:
    """The service that was asked for, with one replica."""
    gpu, assumed = GPUS[args.gpu], Assumed()
    engine = engine_options(QWEN_7B, gpu, assumed, args.max_num_seqs)
    return ServiceOptions(step_times(QWEN_7B, gpu, assumed), engine, COSTS, margin=args.margin, num_ingresses=1)


def cases(args: argparse.Namespace) -> Iterator[Case]:
    for replicas in map(int, args.replicas.split(",")):
        many = args.planners
        planners = max(1, replicas // int(many[:-1])) if many.endswith("/") else int(many)
        scaling = ScalingOptions(replicas, args.max_replicas, args.target, start_s=args.start_s)
        service = replace(
            options(args), replicas=replicas, num_planners=planners, num_ingresses=planners,
            scaling=scaling if args.max_replicas else None,
        )  # fmt: skip
        clients = replicas * args.per_replica
        questions = [scaled(each, args.scale) for each in draw(_PATIENCE * clients, args.seed)]
        began = time.monotonic()
        rate = None if args.rate is None else args.rate * replicas
        ran = closed_loop(service, questions, clients) if rate is None else open_loop(service, questions, rate)
        yield Case(replicas, planners, clients, results(*ran), time.monotonic() - began)


_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("requests/s", "requests_per_s", ".2f"),
    ("tokens/s", "tokens_per_s", ",.0f"),
    ("p50, s", "p50_s", ".1f"),
    ("p99, s", "p99_s", ".1f"),
    ("in a step", "in_engines", ".1f"),
    ("queued", "waiting", ".1f"),
    ("affinity", "affinity", ".1%"),
    ("cached", "cached", ".1%"),
    ("engines busy", "engine_busy", ".0%"),
    ("busiest planner", "planner_busy", ".0%"),
    ("busiest door", "ingress_busy", ".0%"),
)


def table(found: list[Case]) -> Table:
    names = [name for name, _, _ in _COLUMNS]
    shown = Table("replicas", "planners", "clients", *names, "simulated in, s", title="predicted")
    for case in found:
        values: dict[str, Any] = asdict(case.results)
        cells = [format(values[key], form) for _, key, form in _COLUMNS]
        shown.add_row(str(case.replicas), str(case.planners), str(case.clients), *cells, f"{case.took_s:.0f}")
    return shown


def main() -> None:
    Console(width=170).print(table(list(cases(parsed()))))


if __name__ == "__main__":
    main()
