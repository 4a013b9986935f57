"""Benchmarks of the core's hot paths: ratios measured in one run, on this machine, with scripted models.

    python -m benchmarks.core

Prints a table; asserts nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.clock import best_s
from sprint.batching import Row, pack
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.options import Dispatch, EngineOptions
from sprint.reader import TokenReader
from sprint.render import Prompter, training_example, trajectory_text
from sprint.scripted import ScriptedLLM
from sprint.tags import TagLexer, prompt
from sprint.tokenizer import ByteTokenizer
from sprint.types import Execution, Rollout, Round, Trajectory

BYTES = ByteTokenizer()
CARD = ModelCard(Method.SPRINT, Instruction.NONE)
GREEDY = EngineOptions(temperature=0, max_tokens=1 << 30)


def trajectory(rounds: int, width: int, words: int) -> Trajectory:
    """A plausible trajectory: every execution `words` words long."""
    said = " ".join(f"{k}+{k}={2 * k}." for k in range(words))
    return Trajectory(
        tuple(
            Round(
                "\n".join(f"Let us see.\n{prompt(r, k, f'do part {k}')}" for k in range(1, width + 1)),
                tuple(Execution(said) for _ in range(width)),
            )
            for r in range(1, rounds + 1)
        ),
        "It is \\boxed{7}.",
    )


def says(plan: Trajectory) -> Callable[[str], str]:
    """A script that answers in the trajectory's own words, whatever the executor."""
    text = trajectory_text(plan).removeprefix("<think>\n")
    execution = plan.rounds[0].executions[0].text

    def script(context: str) -> str:
        written = context.split("<think>\n", 1)[1]
        tail = written.rpartition("\n<")[2]
        if tail.startswith("execution_"):
            return f"{execution}\n</{tail.strip()}"
        return text[len(written) :]

    return script


def lexing() -> Iterator[tuple[str, str, str]]:
    text = trajectory_text(trajectory(8, 6, 40))

    def by(size: int) -> Callable[[], None]:
        def work() -> None:
            lexer = TagLexer()
            for start in range(0, len(text), size):
                lexer.feed(text[start : start + size])

        return work

    whole, chars, single = best_s(by(len(text))), best_s(by(4)), best_s(by(1))
    yield "lexer, whole text at once", f"{len(text) / whole / 1e6:.1f} M characters/s", "1.0"
    yield (
        "lexer, 4 characters a time",
        f"{len(text) / chars / 1e6:.2f} M characters/s",
        f"{chars / whole:.0f} × the time",
    )
    yield "lexer, character by character", f"{len(text) / single / 1e6:.2f} M characters/s", f"{single / whole:.0f} ×"


def reading() -> Iterator[tuple[str, str, str]]:
    def work(ids: list[int]) -> Callable[[], None]:
        def read() -> None:
            reader = TokenReader(BYTES)
            for token_id in ids:
                reader.feed(token_id)

        return read

    short = BYTES.encode(trajectory_text(trajectory(4, 4, 20)))
    once, eight = best_s(work(short)), best_s(work(short * 8))
    yield "token reader", f"{len(short) / once / 1e3:.0f} k tokens/s", "1.0"
    yield (
        "token reader, 8 × the text",
        f"{8 * len(short) / eight / 1e3:.0f} k tokens/s",
        f"{eight / once:.1f} × the time",
    )


def looping() -> Iterator[tuple[str, str, str]]:
    plan = trajectory(4, 4, 20)
    script = says(plan)

    def rollout(dispatch: Dispatch, token_s: float, chunk_tokens: int) -> Rollout:
        llm = ScriptedLLM(BYTES, script, token_s=token_s, chunk_tokens=chunk_tokens)
        engine = Engine(llm, llm, Prompter(BYTES, CARD), 1 << 30)
        return asyncio.run(engine.run("q", replace(GREEDY, dispatch=dispatch)))

    usage = rollout(Dispatch.PIPELINED, 0, 16).usage
    loop_s = best_s(lambda: rollout(Dispatch.PIPELINED, 0, 16))
    yield "engine loop, infinitely fast model", f"{usage.generated_tokens / loop_s / 1e3:.0f} k tokens/s", ""
    slow = {dispatch: best_s(lambda d=dispatch: rollout(d, 1e-3, 1), 1) for dispatch in Dispatch}  # type: ignore[misc]
    pipelined, barrier = slow[Dispatch.PIPELINED], slow[Dispatch.BARRIER]
    ratio = usage.pipelined_tokens / usage.barrier_tokens
    yield "engine, 1 ms a token, barrier", f"{barrier:.2f} s for {usage.barrier_tokens} sequential tokens", "1.0"
    yield (
        "engine, 1 ms a token, pipelined",
        f"{pipelined:.2f} s for {usage.pipelined_tokens} sequential tokens",
        f"{pipelined / barrier:.2f} × the seconds, {ratio:.2f} × the tokens",
    )


def packing() -> Iterator[tuple[str, str, str]]:
    rng = random.Random(0)
    lengths = [min(8000, int(rng.lognormvariate(7.3, 0.6))) for _ in range(2000)]
    rows = [Row(*((0,) * n for _ in range(6))) for n in lengths]
    seconds = best_s(lambda: pack(rows, 8192), 1)
    bins = len(pack(rows, 8192))
    share = sum(lengths) / (bins * 8192)
    padded = sum(lengths) / (len(rows) * max(lengths))
    yield (
        "packing 2,000 rows into 8,192",
        f"{sum(lengths) / seconds / 1e6:.1f} M tokens/s",
        f"{share:.1%} of each row used",
    )
    yield "the same rows, padded instead", "", f"{padded:.1%} used"


def rendering() -> Iterator[tuple[str, str, str]]:
    text = trajectory_text(trajectory(5, 4, 30))
    prompter = Prompter(BYTES, CARD)
    example = training_example("x", "q", text, prompter)
    seconds = best_s(lambda: training_example("x", "q", text, prompter))
    yield "text to training example", f"{len(example) / seconds / 1e3:.0f} k tokens/s", ""


def main() -> None:
    table = Table("hot path", "rate", "ratio", title="core")
    for section in (lexing, reading, looping, packing, rendering):
        for row in section():
            table.add_row(*row)
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
