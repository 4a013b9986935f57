"""How fast an evaluation is beside the model, and how much memory it takes: scripted rollouts from a server that
answers at once, over HTTP on this machine, each with a long reasoning.

    python -m benchmarks.evaluation --n 10000

Prints seconds, rollouts a second and the memory of the evaluating process as it goes, and what stopping and going on
cost. The server runs in a process of its own, on a core of its own where there are two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from sprint.evals.config import EvalConfig
from sprint.evals.run import Stopped, evaluate
from sprint.files import write_jsonl

_TOKENS = 40_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="rollouts")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--reasoning", type=int, default=20_000, help="characters of each rollout's reasoning")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder, served(options.reasoning) as url:
        whole = run(Path(folder), url, options.n, options.concurrency, "whole")
        stopped = stopped_halfway(Path(folder), url, options.n, options.concurrency)
        same = without_clocks(whole) == without_clocks(stopped)
        print(f"the file of a run that was stopped halfway is the same: {same}")


def config_of(folder: Path, url: str, n: int, concurrency: int, name: str, **options: object) -> EvalConfig:
    data = folder / "data.jsonl"
    if not data.exists():
        write_jsonl(data, [{"id": str(i), "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(n)])
    values = {"out": folder / f"{name}.jsonl", "data": data, "n": n, "base_url": url, "concurrency": concurrency}
    return EvalConfig.model_validate(values | options)


def run(folder: Path, url: str, n: int, concurrency: int, name: str) -> Path:
    config = config_of(folder, url, n, concurrency, name)
    began, worked = time.perf_counter(), time.process_time()
    with watched(config.out, n):
        quietly(config)
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    size = config.out.stat().st_size / 2**20
    print(f"{n} rollouts in {seconds:.1f} s: {n / seconds:.0f} a second, {own / n * 1e3:.2f} ms of CPU each")
    print(f"  {size:.0f} MiB of results")
    return config.out


def stopped_halfway(folder: Path, url: str, n: int, concurrency: int) -> Path:
    tokens = _TOKENS * n // 2
    config = config_of(folder, url, n, concurrency, "stopped", budget={"tokens": tokens})
    with contextlib.suppress(Stopped):
        quietly(config)
    held = sum(1 for _ in config.out.open("rb"))
    began = time.perf_counter()
    quietly(config.model_copy(update={"resume": True, "budget": type(config.budget).model_validate({})}))
    print(f"stopped after {held}; the rest took {time.perf_counter() - began:.1f} s")
    return config.out


def quietly(config: EvalConfig) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluate(config)


def without_clocks(path: Path) -> list[tuple[object, ...]]:
    with path.open(encoding="utf-8") as file:
        rows = map(json.loads, file)
        return [(row["id"], row["sample"], row["sampling_seed"], row["grade"], row["answer"]) for row in rows]


@contextmanager
def watched(out: Path, n: int) -> Iterator[None]:
    """Prints the memory of this process at every fifth of the run, and when all is summed up."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(out, n, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        print(f"  at the end {_resident_mib():.0f} MiB")


def _watch(out: Path, n: int, done: threading.Event) -> None:
    mark, lines, place = 1, 0, 0
    while not done.wait(0.05):
        if not out.exists():
            continue
        with out.open("rb") as file:
            file.seek(place)
            new = file.read()
        place, lines = place + len(new), lines + new.count(b"\n")
        if lines >= n * mark // 5 and mark <= 5:
            print(f"  {lines} done, {_resident_mib():.0f} MiB", flush=True, file=sys.__stdout__)
            mark += 1


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- a server that answers at once -----------------------------------------------------------------------------------


@contextmanager
def served(reasoning: int) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, reasoning), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection, reasoning: int) -> None:
    asyncio.run(_listen(told, "so " * (reasoning // 3)))


async def _listen(told: Connection, thought: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            while True:
                await _exchange(reader, writer, thought)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thought: str) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
    body = await reader.readexactly(length)
    reply = json.dumps(_reply(json.loads(body), thought) if body else {"data": [{"id": "scripted"}]}).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply) + reply
    )
    await writer.drain()


def _reply(request: dict[str, list[dict[str, str]]], thought: str) -> dict[str, object]:
    n = int(request["messages"][0]["content"].split()[-1].split("+")[0])
    message = {"content": f"It is \\boxed{{{n + 1 + n % 2}}}.", "reasoning_content": thought}
    usage = {"prompt_tokens": 50, "completion_tokens": _TOKENS - 50, "prompt_tokens_details": {"cached_tokens": 16}}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


if __name__ == "__main__":
    main()
