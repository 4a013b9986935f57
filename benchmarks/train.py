"""Our trainer against TRL's SFTTrainer, on the same model, data, hardware and precision, taking turns in one run.

    python -m benchmarks.train [--quick] [--rounds 3] [--steps 4] [--gpu --shape 1.5b|7b]

Each turn is a process of its own. Prints tables, asserts nothing. TRL is not a dependency: without it, its rows are
left out and it is said how to get it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.train_inputs import SHAPES, write_model, write_set

GOAL = 1.2
HOW_TO_GET_TRL = (
    "TRL is not installed, so there is no comparison: pip install --no-deps trl==1.16.0, and run this again"
)
Turns = dict[str, list[dict[str, Any]]]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model and one short turn each, to see that it runs"
    )
    parser.add_argument("--gpu", action="store_true", help="on the first GPU, in bf16, with gradient checkpointing")
    parser.add_argument("--shape", choices=list(SHAPES), help="default: small; with --gpu 1.5b; with --quick tiny")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm")
    parser.add_argument("--steps", type=int, default=4, help="timed optimizer steps of a turn")
    given = parser.parse_args()
    given.shape = given.shape or ("tiny" if given.quick else "1.5b" if given.gpu else "small")
    if given.quick:
        given.rounds, given.steps = 1, 2
    return given


def main() -> None:
    given = options()
    has_trl = find_spec("trl") is not None
    if not has_trl:
        print(HOW_TO_GET_TRL)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        base = _inputs(Path(folder), given)
        arms = ["flat", "exact"] + ["trl"] * has_trl
        turns: Turns = {arm: [] for arm in arms}
        for number in range(given.rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                turns[arm].append(_turn(Path(folder), arm, base, given, number))
                print(f"turn {number + 1}/{given.rounds} {arm}: {_speed(turns[arm][-1]):,.0f} tokens/s", flush=True)
    console.print(_table(turns, given))
    for line in _conclusions(turns, given):
        print(line)


def _inputs(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The set and the model on disk; the settings that all arms share."""
    row_tokens = {"tiny": 512, "small": 1024}.get(given.shape, 16384)
    texts = write_set(folder / "data", 400, {512: 1, 1024: 2}.get(row_tokens, 40))
    write_model(folder / "start", texts, given.shape, 4 * row_tokens, given.gpu)
    return {
        "data": str(folder / "data"),
        "start": str(folder / "start"),
        "instruction": "none",
        "row_tokens": row_tokens,
        "micro_rows": 1,
        "accumulation": 2,
        "learning_rate": 1e-5,
        "schedule": "constant",
        "precision": "bf16" if given.gpu else "autocast",
        "zero_stage": 1 if given.gpu else 0,
        "gradient_checkpointing": given.gpu,
        "max_steps": 1000,
        "workers": 1,
        "threads": 1,
        "use_gpu": given.gpu,
    }


def _turn(folder: Path, arm: str, base: dict[str, Any], given: argparse.Namespace, number: int) -> dict[str, Any]:
    """A few steps of one arm in a fresh process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    layout = "exact" if arm == "exact" else "flat"
    config = base | {"out": str(folder / "runs"), "name": f"{arm}-{number}", "layout": layout}
    flash = given.gpu and find_spec("flash_attn") is not None
    settings = {
        "config": config,
        "steps": given.steps,
        "port": port,
        "folder": str(folder / "trl"),
        "attention": "flash_attention_2" if flash else "sdpa",
        "flops": given.gpu,
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    device = {} if given.gpu else {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.train_arms", "trl" if arm == "trl" else "ours", str(path)]
    done = subprocess.run(command, env=os.environ | device | {"HF_HUB_OFFLINE": "1"}, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return found


def _speed(turn: dict[str, Any]) -> float:
    return float(turn["tokens"] / turn["seconds"])


def _table(turns: Turns, given: argparse.Namespace) -> Table:
    table = Table(title=f"training, {given.shape} model, {'one GPU' if given.gpu else 'one CPU thread'}")
    for column in ("arm", "tokens/s (median)", "lowest – highest", "padding", "peak memory", "MFU"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    names = {"flat": "ours, layout flat", "exact": "ours, layout exact", "trl": "TRL SFTTrainer, packing"}
    for arm, results in turns.items():
        speeds = [_speed(turn) for turn in results]
        padding = f"{results[0]['padding']:.1%}" if "padding" in results[0] else ""
        memory = f"{max(turn['memory'] for turn in results) / 2**30:.2f} GiB"
        spread = f"{min(speeds):,.0f} – {max(speeds):,.0f}"
        table.add_row(names[arm], f"{statistics.median(speeds):,.0f}", spread, padding, memory, _mfu(results))
    return table


def _mfu(results: list[dict[str, Any]]) -> str:
    """The share of the GPU's peak that the model's own arithmetic makes up."""
    from train.flops import peak_flops

    peak = peak_flops(results[0].get("device", ""))
    if peak is None or not results[0].get("flops"):
        return ""
    return f"{statistics.median(turn['flops'] / turn['seconds'] for turn in results) / peak:.1%}"


def _conclusions(turns: Turns, given: argparse.Namespace) -> list[str]:
    speed = {arm: statistics.median(_speed(turn) for turn in results) for arm, results in turns.items()}
    tokens = {arm: turns[arm][0]["example_tokens"] for arm in ("flat", "exact")}
    cost = (tokens["exact"] / speed["exact"]) / (tokens["flat"] / speed["flat"])
    lines = [
        f"exact / flat: {tokens['exact'] / tokens['flat']:.2f} x the tokens an example, {cost:.2f} x the seconds",
    ]
    if "trl" in turns:
        pairs = [_speed(a) / _speed(b) for a, b in zip(turns["flat"], turns["trl"], strict=True)]
        ratio = speed["flat"] / speed["trl"]
        lines.insert(
            0,
            f"ours / TRL, tokens per second: {ratio:.2f} ({min(pairs):.2f} – {max(pairs):.2f} turn by turn; "
            f"goal {GOAL}{'' if ratio >= GOAL else ': missed'})",
        )
    return [*lines, "seconds of packing and padding on other lengths: python -m benchmarks.packing"]


if __name__ == "__main__":
    main()
