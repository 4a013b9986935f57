"""Load test of the service, against vLLM's own server given the same generations in the same run.

    python -m benchmarks.service [--clients 1,8,64,200] [--rates 2,4] [--stream] [--blocks 2] [--json FILE]

Both servers run side by side with the same model (small, random weights), the same engine arguments, and a script that
says what follows each prompt. `ours` is asked one question a request; `raw` gets, from a loop in its client, the calls
that our planner makes for that question: same prompts, same lengths, same order. Questions are asked in blocks, one arm
after the other, the first of the two changing from block to block; no question is asked twice of a server.

Closed loop (`--clients`): each client asks when it has been answered. Open loop (`--rates`): questions arrive as a
Poisson process. Prints speeds, ratios, CPU, memory and what the service refused or still had to do afterwards; asserts
no time, only that every answer was the script's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from benchmarks.service_load import Arm, RawCalls, Sample, Service, closed_loop, new_session, open_loop
from benchmarks.service_metrics import left_over
from benchmarks.service_script import Asked, Stage, drawn, stage
from benchmarks.service_servers import Server, Use, app_config, ours, raw
from benchmarks.service_tables import Block, cpu_table, memory_table, ratio_table, speed_table, used

LEAST_QUESTIONS = 6
Loop = Callable[[Arm, Sequence[Asked]], Coroutine[Any, Any, list[Sample]]]


@dataclass(frozen=True, slots=True)
class Load:
    """One way of asking: its name, how many questions a block holds, and the loop that asks them."""

    name: str
    questions: int
    loop: Loop


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,8,64,200", help="closed loops (default 1,8,64,200; empty: none)")
    parser.add_argument("--rates", default="", help="open loops: questions a second, separated by commas")
    parser.add_argument("--open-s", type=float, default=20.0, help="length of an open loop in seconds (default 20)")
    parser.add_argument("--blocks", type=int, default=2, help="blocks of each load and arm (default 2)")
    parser.add_argument("--per-client", type=float, default=1.0, help="questions a client asks in a block (default 1)")
    parser.add_argument("--stream", action="store_true", help="answers are streamed, so times to first token are known")
    parser.add_argument("--only", choices=("ours", "raw"), help="one arm alone")
    parser.add_argument("--layers", type=int, default=4, help="of the model (default 4)")
    parser.add_argument("--hidden", type=int, default=256, help="of the model (default 256)")
    parser.add_argument("--scale", type=float, default=0.1, help="shortens every part of an answer (default 0.1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="{}", help="JSON: further options of the service, as in its YAML file")
    parser.add_argument("--json", type=Path, help="where to write every number")
    return parser.parse_args()


def loads(args: argparse.Namespace) -> Iterator[Load]:
    for clients in map(int, filter(None, args.clients.split(","))):
        count = max(LEAST_QUESTIONS, round(clients * args.per_client))
        yield Load(f"{clients} client{'s' * (clients > 1)}", count, _closed(clients))
    for rate in map(float, filter(None, args.rates.split(","))):
        yield Load(f"{rate:g} a second", max(1, round(rate * args.open_s)), _open(rate, args.seed))


def _closed(clients: int) -> Loop:
    return lambda arm, questions: closed_loop(arm, questions, clients)


def _open(rate: float, seed: int) -> Loop:
    return lambda arm, questions: open_loop(arm, questions, rate, seed)


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """A server and the way it is asked."""

    server: Server
    arm: Arm


async def block(pair: Pair, load: Load, questions: Sequence[Asked], session: aiohttp.ClientSession) -> Block:
    before, own = pair.server.use(), time.process_time()
    start = time.perf_counter()
    samples = await load.loop(pair.arm, questions)
    wall_s, own = time.perf_counter() - start, time.process_time() - own
    after = pair.server.use()
    left = await left_over(session, pair.server.url) if pair.arm.name == "ours" else None
    return Block(load.name, pair.arm.name, wall_s, samples, used(before, after), after.memory_mib, own, left)


async def measure(args: argparse.Namespace, staged: Stage, servers: Sequence[Server]) -> list[Block]:
    fresh = iter(staged.questions)
    blocks: list[Block] = []
    async with new_session() as session:
        pairs = [Pair(server, _arm(server, session, args.stream)) for server in servers]
        warm = [next(fresh) for _ in range(LEAST_QUESTIONS)]
        for pair in pairs:
            await closed_loop(pair.arm, warm, LEAST_QUESTIONS)
        for load in loads(args):
            for turn in range(args.blocks):
                questions = [next(fresh) for _ in range(load.questions)]
                for pair in pairs if turn % 2 == 0 else reversed(pairs):
                    _say(f"{load.name}, {pair.arm.name}, block {turn + 1} of {args.blocks}")
                    blocks.append(await block(pair, load, questions, session))
    return blocks


def _arm(server: Server, session: aiohttp.ClientSession, stream: bool) -> Arm:
    kind = Service if server.name == "ours" else RawCalls
    return kind(server.name, session, server.url, stream)


def _say(text: str) -> None:
    Console(stderr=True).print(f"{text}   (load of the machine {os.getloadavg()[0]:.1f})", highlight=False)


def run(args: argparse.Namespace, folder: Path) -> tuple[list[Block], dict[str, Use]]:
    count = LEAST_QUESTIONS + args.blocks * sum(load.questions for load in loads(args))
    staged = stage(folder, drawn(count, args.seed, args.scale), args.layers, args.hidden, args.seed, args.stream)
    config = app_config(staged, **json.loads(args.options))
    with ExitStack() as stack:
        _say("starting the servers")
        starters = [start for start in (ours, raw) if args.only in (None, start.__name__)]
        servers = [stack.enter_context(start(config, folder)) for start in starters]
        before = {server.name: server.use() for server in servers}
        return asyncio.run(measure(args, staged, servers)), before


def main() -> None:
    args = parsed()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        blocks, before = run(args, Path(folder))
    if args.json:
        rows = [asdict(block) for block in blocks]
        args.json.write_text(json.dumps({"settings": vars(args), "blocks": rows}, indent=1, default=str) + "\n")
    for table in (speed_table(blocks), ratio_table(blocks), cpu_table(blocks), memory_table(blocks, before)):
        Console(width=160).print(table)
    _say(f"took {time.monotonic() - began:.0f} s")
    wrong = sum(not sample.right and sample.status != 503 for block in blocks for sample in block.samples)
    if wrong:
        raise SystemExit(f"error: {wrong} answers were not the script's")


if __name__ == "__main__":
    main()
