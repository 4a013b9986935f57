"""The simulation against the service itself: the same questions, asked of both, predicted and measured side by side.

    python -m benchmarks.simulation_check [--replicas 1,2,4] [--clients 8,32] [--engine emulated|vllm] [--json FILE]

With `emulated` engines (default) the service is the real one, door, planner, router and replicas, but an engine's step
is waited for and not computed, so that four replicas on two cores are four. With `vllm` engines are real and share this
machine's cores, which the simulation is told.

What processes and real engines' steps cost is taken, in CPU seconds, from blocks at one replica that are not among
those compared. Everything else is predicted, as if nobody else used the cores unless `--others` says so. Prints both;
asserts no time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.service_load import Sample, Service, closed_loop, new_session
from benchmarks.service_metrics import summed
from benchmarks.service_script import Asked, Stage, drawn, stage
from benchmarks.service_servers import Server, app_config, ours
from benchmarks.simulation.check_tables import Row, table
from benchmarks.simulation.engine import EngineOptions, StepTimes
from benchmarks.simulation.fitting import Block, costs_of, counts_of, step_times, structure_of, words_of
from benchmarks.simulation.options import Costs, ServiceOptions
from benchmarks.simulation.results import results
from benchmarks.simulation.service import LOOK_S
from benchmarks.simulation.workload import closed_loop as simulated
from sprint.tokenizer import HFTokenizer

PROGRAM = ("-m", "benchmarks.simulation.serve_emulated")
STEP_TOKENS, BLOCK_TOKENS, CACHE_TOKENS = 2048, 32, 1 << 18
WARM, CALIBRATION = 4, (1, 4, 12)
EMULATED = StepTimes(0.025, 0.0005, 0.00005)


@dataclass(frozen=True, slots=True)
class Measured:
    """One block: what clients saw, what the routers counted, what the processes used."""

    samples: Sequence[Sample]
    wall_s: float
    counted: dict[str, float]
    looks: Sequence[dict[str, float]]
    cpu_s: dict[str, float]
    load: float


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2,4", help="separated by commas (default 1,2,4)")
    parser.add_argument("--clients", default="8,32", help="closed loops, separated by commas (default 8,32)")
    parser.add_argument("--per-client", type=float, default=2.0, help="questions a client asks (default 2)")
    parser.add_argument("--engine", choices=("emulated", "vllm"), default="emulated")
    parser.add_argument("--scale", type=float, default=0.1, help="shortens every part of an answer (default 0.1)")
    parser.add_argument("--max-num-seqs", type=int, default=16, help="of an engine (default 16)")
    parser.add_argument("--margin", type=int, default=16, help="spill_over_margin (default 16)")
    parser.add_argument("--layers", type=int, default=4, help="of the real engines' model (default 4)")
    parser.add_argument("--hidden", type=int, default=256, help="of the real engines' model (default 256)")
    parser.add_argument("--cores", type=float, default=float(os.cpu_count() or 1), help="that all of it shares")
    parser.add_argument("--others", type=float, default=0.0, help="cores' worth of work beside it (default 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write every number")
    return parser.parse_args()


# --- measuring -------------------------------------------------------------------------------------------------------


@contextmanager
def served(args: argparse.Namespace, staged: Stage, replicas: int, folder: Path) -> Iterator[Server]:
    """The service with so many replicas."""
    options = {"min_replicas": replicas, "max_replicas": replicas, "spill_over_margin": args.margin}
    config = app_config(staged, max_num_seqs=args.max_num_seqs, **options)
    if args.engine == "vllm":
        with ours(config, folder) as server:
            yield server
        return
    own = {"times": asdict(EMULATED), "step_tokens": STEP_TOKENS, "cache_tokens": CACHE_TOKENS}
    config.engine["additional_config"] = config.engine["additional_config"] | own
    with ours(config, folder, PROGRAM) as server:
        yield server


async def block(server: Server, questions: Sequence[Asked], clients: int) -> Measured:
    """The questions, asked by so many clients."""
    async with new_session() as session:
        before, counted = server.use(), await _counters(session, server)
        looks = list[dict[str, float]]()
        looking = asyncio.create_task(_look(session, server, looks))
        samples = await closed_loop(Service("ours", session, server.url, False), questions, clients)
        looking.cancel()
        after, now = server.use(), await _counters(session, server)
    wall_s = max(sample.end_s for sample in samples) - min(sample.began_s for sample in samples)
    cpu_s = {kind: after.cpu_s[kind] - before.cpu_s.get(kind, 0.0) for kind in after.cpu_s}
    change = {name: value - counted.get(name, 0.0) for name, value in now.items()}
    return Measured(samples, wall_s, change, looks, cpu_s, os.getloadavg()[0])


async def _look(session: Any, server: Server, looks: list[dict[str, float]]) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        looks.append(await _counters(session, server))


async def _counters(session: Any, server: Server) -> dict[str, float]:
    async with session.get(f"{server.url}/metrics") as response:
        return summed(await response.text())


# --- comparing -------------------------------------------------------------------------------------------------------


def options_of(
    args: argparse.Namespace, staged: Stage, replicas: int, times: StepTimes, costs: Costs
) -> ServiceOptions:
    """What is measured, as the simulation takes it."""
    engine = EngineOptions(args.max_num_seqs, STEP_TOKENS, BLOCK_TOKENS, CACHE_TOKENS)
    words = words_of(HFTokenizer(staged.folder))
    service = ServiceOptions(times, engine, costs, words, replicas, margin=args.margin, cores=args.cores)
    return replace(service, engines_on_cores=args.engine == "vllm")


def calibrated(args: argparse.Namespace, staged: Stage, server: Server, fresh: Iterator[Asked]) -> ServiceOptions:
    """The service as it will be simulated, with what its processes and engines were seen to use at one replica."""
    asked = [[next(fresh) for _ in range(max(WARM, clients))] for clients in CALIBRATION]
    seen = [asyncio.run(block(server, each, clients)) for each, clients in zip(asked, CALIBRATION, strict=True)]
    found = [[structure_of(each) for each in questions] for questions in asked]
    costs = costs_of(seen[1].cpu_s, counts_of(found[1]))
    _say(f"costs in core milliseconds: {_milliseconds(costs)}")
    options = options_of(args, staged, 1, EMULATED, costs)
    if args.engine == "vllm":
        used = [each.cpu_s["engine"] for each in seen]
        blocks = [Block(*each) for each in zip(found, CALIBRATION, used, strict=True)]
        options = replace(options, times=step_times(blocks, replace(options, cores=float("inf"))))
        _say(f"steps in core milliseconds: {_milliseconds(options.times)}")
    return options


def compared(
    args: argparse.Namespace, staged: Stage, folder: Path, fresh: Iterator[Asked]
) -> Iterator[tuple[Row, Measured]]:
    """Row by row, as soon as it has been measured."""
    options: ServiceOptions | None = None
    for replicas in map(int, args.replicas.split(",")):
        with served(args, staged, replicas, folder) as server:
            asyncio.run(block(server, [next(fresh) for _ in range(WARM)], WARM))
            options = options or calibrated(args, staged, server, fresh)
            for clients in map(int, args.clients.split(",")):
                asked = [next(fresh) for _ in range(round(clients * args.per_client))]
                seen = asyncio.run(block(server, asked, clients))
                told = replace(options, replicas=replicas, others=args.others)
                service, answers = simulated(told, [structure_of(each) for each in asked], clients)
                yield Row(replicas, clients, seen.load, _seen(seen), results(service, answers)), seen
                _say(f"{replicas} replicas, {clients} clients")


def _seen(block: Measured) -> dict[str, float]:
    calls = block.counted.get("sprint_pool_calls_total", 0.0)
    return {
        "requests_per_s": len(block.samples) / block.wall_s,
        "tokens_per_s": sum(sample.tokens for sample in block.samples) / block.wall_s,
        "p50_s": _quantile(block.samples, 0.5),
        "p99_s": _quantile(block.samples, 0.99),
        "affinity": block.counted.get("sprint_pool_affinity_hits_total", 0.0) / max(1.0, calls),
        "cached": block.counted["sprint_cached_prompt_tokens_total"] / block.counted["sprint_prompt_tokens_total"],
        "running": _looked(block, "sprint_pool_running"),
        "waiting": _looked(block, "sprint_pool_waiting"),
        "calls_per_request": calls / len(block.samples),
        "right": sum(sample.right for sample in block.samples) / len(block.samples),
    }


def _looked(block: Measured, name: str) -> float:
    """The mean of what was seen, second by second; a service that is busy does not always answer in time."""
    values = [look[name] for look in block.looks if name in look]
    return sum(values) / len(values) if values else 0.0


def _quantile(samples: Sequence[Sample], share: float) -> float:
    ordered = sorted(sample.end_s - sample.began_s for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _milliseconds(costs: Costs | StepTimes) -> str:
    return ", ".join(f"{name} {value * 1e3:.3f}" for name, value in asdict(costs).items())


def _say(text: str) -> None:
    Console(stderr=True).print(f"{text}   (load of the machine {os.getloadavg()[0]:.1f})", highlight=False)


def main() -> None:
    args = parsed()
    blocks, clients = len(args.replicas.split(",")), list(map(int, args.clients.split(",")))
    count = sum(max(WARM, each) for each in CALIBRATION) + blocks * (
        WARM + sum(round(each * args.per_client) for each in clients)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        staged = stage(folder, drawn(count, args.seed, args.scale), args.layers, args.hidden, args.seed)
        rows = []
        for row, seen in compared(args, staged, folder, iter(staged.questions)):
            rows.append(row)
            _say(f"CPU seconds: {seen.cpu_s}")
            if args.json:
                found = [asdict(row) for row in rows]
                args.json.write_text(json.dumps({"settings": vars(args), "rows": found}, indent=1, default=str) + "\n")
    Console(width=160).print(table(rows, args.engine))


if __name__ == "__main__":
    main()
