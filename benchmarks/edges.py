"""Benchmarks of the edges' hot paths on CPU: curation rows, training steps, the serving stack. Ratios of one run.

    python -m benchmarks.edges

The served model is small and untrained; what is measured is the stack around it. Prints tables; asserts nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.clock import best_s
from sprint.card import Instruction, Method, ModelCard
from sprint.curate import CurationOptions, curate_row
from sprint.rules import RulesAnnotator
from sprint.steps import free_port
from sprint.tasks import Split, get_task

Line = tuple[str, str, str]


def rows_of(task: str, count: int) -> list[dict[str, str]]:
    """Trace rows of a generated task."""
    source = get_task(task)
    traces = [source.teach(problem) for problem in islice(source.problems(Split.TRAIN), count)]
    names = ("id", "question", "reasoning", "response", "answer")
    return [{name: getattr(trace, name) for name in names} for trace in traces]


def curation() -> Iterator[Line]:
    annotator, options = RulesAnnotator(), CurationOptions()
    for task in ("chains", "countdown"):
        rows = rows_of(task, 100)
        seconds = best_s(lambda rows=rows: [curate_row(row, annotator, options) for row in rows])  # type: ignore[misc]
        characters = sum(len(row["reasoning"]) for row in rows)
        yield (
            f"curate a row of {task}",
            f"{len(rows) / seconds:.0f} rows/s",
            f"{characters / seconds / 1e6:.2f} M chars/s",
        )


def training(start: Path) -> Iterator[Line]:
    """One optimizer-free step on the same tokens: sequential rows, and rows with branches and their mask."""
    import torch

    from sprint.batching import pad, row_of
    from sprint.render import Prompter, training_example
    from sprint.tokenizer import HFTokenizer
    from train.models import SupervisedLoss, load

    torch.set_num_threads(1)
    model = SupervisedLoss(load(str(start), bf16=False, checkpointing=False), autocast=True)
    tokenizer = HFTokenizer(start)
    rates: dict[Method, float] = {}
    for method in (Method.RFT, Method.SPRINT):
        prompter = Prompter(tokenizer, ModelCard(method, Instruction.NONE))
        curated = [curate_row(row, RulesAnnotator(), CurationOptions()) for row in rows_of("chains", 4)]
        texts = [row.rft_text if method is Method.RFT else row.sprint_text for row in curated]
        rows = [row_of(training_example(c.id, c.question, t, prompter)) for c, t in zip(curated, texts, strict=True)]
        length = max(map(len, rows))
        padded = [pad(row, length, 0) for row in rows]
        names = ("ids", "labels", "positions", "documents", "streams", "visible", "kinds")
        batch = {name: torch.tensor([getattr(row, name) for row in padded]) for name in names}
        plain = method is Method.RFT

        def step(batch: dict[str, Any] = batch, plain: bool = plain) -> None:
            model(batch, plain).backward()

        rates[method] = sum(map(len, rows)) / best_s(step)
        ratio = rates[method] / rates[Method.RFT]
        yield f"train step, {method} rows of {length}", f"{rates[method]:.0f} tokens/s on one thread", f"{ratio:.2f}"


def serving(model: Path) -> Iterator[Line]:
    from serve_app.config import ServeConfig
    from serve_app.run import running

    began = time.perf_counter()
    with running(ServeConfig(model=model, port=free_port())) as url:
        yield "serve: from nothing to the first answer", f"{time.perf_counter() - began:.0f} s", ""
        asyncio.run(_load(url, model.name, 2))
        one = 0.0
        for concurrency in (1, 8, 32):
            rate = asyncio.run(_load(url, model.name, concurrency))
            one = one or rate
            yield f"serve: {concurrency} requests at once", f"{rate:.0f} tokens/s", f"{rate / one:.1f} × one"


async def _load(url: str, name: str, concurrency: int) -> float:
    """Tokens per second of `concurrency` requests of 128 tokens each."""
    import httpx

    async with httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=None)) as client:

        async def ask(number: int) -> int:
            body = {
                "model": name,
                "messages": [{"role": "user", "content": f"Which chain is largest?\nA: {number}+1"}],
                "max_tokens": 128,
                "temperature": 1.0,
                "sprint": {"mode": "sequential"},
            }
            answer = await client.post(f"{url}/v1/chat/completions", json=body)
            return int(answer.json()["usage"]["completion_tokens"])

        start = time.perf_counter()
        tokens = sum(await asyncio.gather(*map(ask, range(concurrency))))
        return tokens / (time.perf_counter() - start)


def main() -> None:
    from train.models import prepare

    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        curated = [curate_row(row, RulesAnnotator(), CurationOptions()) for row in rows_of("chains", 200)]
        start = Path(folder) / "start"
        prepare([text for row in curated for text in (row.question, row.sprint_text, row.rft_text)], start, 0, 4096)
        table = Table("hot path", "rate", "ratio", title="edges, on CPU")
        for section in (curation(), training(start), serving(start)):
            for row in section:
                table.add_row(*row)
            table.add_section()
        console.print(table)


if __name__ == "__main__":
    main()
