"""Benchmark of the engine: how near its seconds come to what its tokens allow, on a real vLLM engine.

    python -m benchmarks.engine [--n 12] [--scale 0.25] [--outputs FILE --tokenizer FILE [--sequential FILE]]

A small model with random weights really decodes step by step, but is made to sample given ids: answers with the round
structure of recorded outputs (`--outputs`, JSON lines with `problem` and `reasoning`), or of drawn ones. Every answer
is run by each arm in turn (see `benchmarks.arms`), on an empty prefix cache, the order rotated from answer to answer.
Prints ratios with their spread; asserts no time, only that every arm sampled what it should.

`--gpu` takes a 7B-shaped Qwen2 in bfloat16 with random weights on the first GPU instead (`make bench-gpu`). The harness
is the same and every option of the shape works on CPU too, but the flag itself has not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks import arms
from benchmarks.accounts import seconds, tokens
from benchmarks.engine_tables import tables
from benchmarks.forced import ForcedServer, Shape, engine_args
from benchmarks.structures import Structure, draw, read, scaled
from benchmarks.trajectories import Answer, Contexts, Speaker, save_tokenizer
from sprint.errors import InputError
from sprint.tokenizer import load_tokenizer

_SMALL = {"layers": 2, "hidden": 128}
_7B = {"layers": 28, "hidden": 3584}
_7B_VOCAB = 152_064
_SPARE_TOKENS = 64
ARMS = ("ours", "carried", "theirs", "theirs_apart", "oracle", "sequential")

Row = dict[str, Any]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, help="recorded outputs in the protocol; default: drawn structures")
    parser.add_argument("--tokenizer", help="with --outputs: what their tokens are counted with")
    parser.add_argument("--sequential", type=Path, help="with --outputs: a sequential model's outputs on the problems")
    parser.add_argument("--n", type=int, help="answers to run (default: all recorded, or 12 drawn)")
    parser.add_argument("--scale", type=float, default=0.25, help="shortens every part (default 0.25)")
    parser.add_argument("--seed", type=int, default=0, help="of drawn structures and of the words")
    parser.add_argument("--layers", type=int, help=f"default {_SMALL['layers']}; with --gpu {_7B['layers']}")
    parser.add_argument("--hidden", type=int, help=f"default {_SMALL['hidden']}; with --gpu {_7B['hidden']}")
    parser.add_argument("--block-size", type=int, help="tokens of a cache block (default 32; with --gpu 16)")
    parser.add_argument("--gpu", action="store_true", help="a 7B-shaped model on the first GPU")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each arm on each answer; the fastest counts")
    parser.add_argument("--arms", default="", help=f"of {', '.join((*ARMS, 'whole_plan'))}, separated by commas")
    parser.add_argument("--json", type=Path, help="where to write every number")
    args = parser.parse_args()
    if args.outputs and not args.tokenizer:
        parser.error("--outputs needs --tokenizer, to count tokens with")
    if not args.gpu and (args.block_size or 32) % 32:
        parser.error(f"--block-size is {args.block_size}: vLLM's CPU attention takes multiples of 32")
    if args.gpu and not _has_gpu():
        parser.error("--gpu: there is no GPU here; without it the same harness runs a small model on CPU")
    if unknown := set(filter(None, args.arms.split(","))) - {*ARMS, "whole_plan"}:
        parser.error(f"--arms: there is no arm {min(unknown)!r}")
    return args


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def structures(args: argparse.Namespace) -> list[Structure]:
    if not args.outputs:
        found = draw(args.n or 12, args.seed)
    else:
        found = read(args.outputs, args.sequential, load_tokenizer(args.tokenizer))
    step = len(found) / (args.n or len(found))
    chosen = [found[int(index * step)] for index in range(min(args.n or len(found), len(found)))]
    return [scaled(structure, args.scale) for structure in chosen]


def shape(args: argparse.Namespace, vocab: int) -> Shape:
    sizes = _7B if args.gpu else _SMALL
    padded = _7B_VOCAB if args.gpu else -(-vocab // 64) * 64
    return Shape(args.layers or sizes["layers"], args.hidden or sizes["hidden"], padded)


def bench_of(args: argparse.Namespace, found: list[Structure], folder: Path) -> tuple[arms.Bench, list[Answer]]:
    """An engine with a tokenizer of its own, and what it will be made to say."""
    tokenizer = save_tokenizer(found, folder)
    speaker = Speaker(tokenizer, args.seed)
    answers = [speaker.say(structure) for structure in found]
    longest = max(_context_tokens(answer) for answer in answers) + _SPARE_TOKENS
    block = args.block_size or (16 if args.gpu else 32)
    model = shape(args, tokenizer.vocab_size)
    server = ForcedServer(folder, model, longest, tokenizer.eos_id, engine_args(model, longest, block, args.gpu))
    return arms.Bench(server, tokenizer, longest, block), answers


def _context_tokens(answer: Answer) -> int:
    runtime = sum(16 * (1 + len(spoken.executions)) for spoken in answer.rounds)
    return len(answer.question) + max(answer.written_tokens + runtime, len(answer.sequential))


def chosen_arms(args: argparse.Namespace, answers: list[Answer]) -> dict[str, arms.Arm]:
    names = args.arms.split(",") if args.arms else list(ARMS)
    if not all(answer.sequential for answer in answers):
        names = [name for name in names if name != "sequential"]
    return {name: getattr(arms, name) for name in names}


async def row_of(bench: arms.Bench, answer: Answer, by_name: dict[str, arms.Arm], turn: int, repeats: int) -> Row:
    """Every arm on one answer, `repeats` times round, the first of them the `turn`-th."""
    contexts: Contexts = bench.contexts(answer)
    names = list(by_name)
    order = names[turn % len(names) :] + names[: turn % len(names)]
    runs: dict[str, list[arms.Run]] = {name: [] for name in names}
    measured_costs: list[arms.Costs] = []
    for _ in range(repeats):
        for name in order:
            runs[name].append(await arms.timed(by_name[name], bench, answer, contexts))
        measured_costs.append(await arms.costs(bench, contexts))
    costs = min(measured_costs, key=lambda costs: costs.step_s)
    fastest = {name: min(runs[name], key=lambda run: run.wall_s) for name in names}
    measured = {name: _measured(run, bench.block_tokens) for name, run in fastest.items()}
    return {
        "id": answer.id,
        "rounds": len(answer.rounds),
        "pipelined_tokens": answer.pipelined_tokens,
        "written_tokens": answer.written_tokens,
        "barrier_tokens": answer.barrier_tokens,
        "critical_path_s": answer.pipelined_tokens * costs.step_s,
        "step_s": costs.step_s,
        "hops_s": costs.hops_s,
        "arms": {name: measured[name] for name in names},
    }


def _measured(run: arms.Run, block_tokens: int) -> Row:
    spent = asdict(seconds(run))
    return {"wall_s": run.wall_s, "cpu_s": run.cpu_s, "s": spent, "tokens": asdict(tokens(run.log, block_tokens))}


async def measure(bench: arms.Bench, answers: list[Answer], by_name: dict[str, arms.Arm], repeats: int) -> list[Row]:
    for arm in by_name.values():  # warm up: the engine's first calls are slow
        await arms.timed(arm, bench, answers[0], bench.contexts(answers[0]))
    numbered = track(list(enumerate(answers)), "answers", console=Console(stderr=True), transient=True)
    return [await row_of(bench, answer, by_name, turn, repeats) for turn, answer in numbered]


def main() -> None:
    args = parsed()
    try:
        found = structures(args)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    with tempfile.TemporaryDirectory() as folder:
        bench, answers = bench_of(args, found, Path(folder))
        try:
            rows = asyncio.run(measure(bench, answers, chosen_arms(args, answers), args.repeats))
        finally:
            bench.server.shutdown()
    if args.json:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
        args.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    for table in tables(rows):
        Console().print(table)


if __name__ == "__main__":
    main()
