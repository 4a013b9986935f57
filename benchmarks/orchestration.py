"""What the engine's own loop costs: CPU per round with a model that takes no time, and how it grows with the tokens.

    python -m benchmarks.orchestration

The model is canned: its chunks are made before the clock starts. Measured is the process's CPU time, so that a busy
machine does not count. Prints tables and a straight-line fit; asserts nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from statistics import linear_regression, median

from rich.console import Console
from rich.table import Table

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.options import EngineOptions
from sprint.render import Prompter, execution_text, final_text, plan_text
from sprint.tags import prompt
from sprint.tokenizer import ByteTokenizer, HFTokenizer, Tokenizer

Line = tuple[str, ...]
WIDTH, EXECUTION_TOKENS, ROUNDS, REPEATS = 3, 200, 4, 7
OPTIONS = EngineOptions(temperature=0, max_tokens=1 << 30, max_plan_tokens=1 << 30, count_as_published=False)


class Canned:
    """Says what was prepared, chunk by chunk, without waiting: plans and the final answer in turn, one execution."""

    def __init__(self, tokenizer: Tokenizer, plan_tokens: int, chunk_tokens: int) -> None:
        self._tokenizer, self._size = tokenizer, chunk_tokens
        plans = [plan_text(number, _plan(tokenizer, number, plan_tokens)) for number in range(1, ROUNDS + 1)]
        self._turns = [self._chunks(text) for text in (*plans, final_text("It is \\boxed{7}."))]
        self._executions = {
            (number, k): self._chunks(execution_text(number, k, _filler(tokenizer, EXECUTION_TOKENS)))
            for number in range(1, ROUNDS + 1)
            for k in range(1, WIDTH + 1)
        }
        self._turn, self._k = 0, 0

    def _chunks(self, text: str) -> list[Chunk]:
        ids, size = self._tokenizer.encode(text), self._size
        cut = [tuple(ids[at : at + size]) for at in range(0, len(ids), size)]
        last = len(cut) - 1
        return [Chunk(part, "", FinishReason.STOP if at == last else None, 0) for at, part in enumerate(cut)]

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """See `llm.LLM.stream`."""
        if sampling.chunk_tokens > 1:
            self._k = self._k % WIDTH + 1
            said = self._executions[self._turn, self._k]
        else:
            said, self._turn, self._k = self._turns[self._turn], self._turn + 1, 0
        for chunk in said:
            yield chunk


def _filler(tokenizer: Tokenizer, tokens: int) -> str:
    text = " ".join(f"{n}+{n}={2 * n}." for n in range(tokens))
    return tokenizer.decode(tokenizer.encode(text)[:tokens])


def _plan(tokenizer: Tokenizer, number: int, tokens: int) -> str:
    part = _filler(tokenizer, tokens // WIDTH)
    return "\n".join(f"{part}\n{prompt(number, k, f'do part {k}')}" for k in range(1, WIDTH + 1))


async def cpu_ms(tokenizer: Tokenizer, plan_tokens: int, chunk_tokens: int) -> tuple[float, int]:
    """CPU milliseconds of one rollout (median of a few), and the tokens that it sampled."""
    found = []
    for _ in range(REPEATS):
        llm = Canned(tokenizer, plan_tokens, chunk_tokens)
        engine = Engine(llm, llm, Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.NONE)), 1 << 30)
        began = time.process_time()
        rollout = await engine.run("q", OPTIONS)
        found.append((time.process_time() - began) * 1e3)
        assert len(rollout.trajectory.rounds) == ROUNDS if rollout.trajectory else False
    return median(found), rollout.usage.generated_tokens


def rounds(name: str, tokenizer: Tokenizer) -> Iterator[Line]:
    """The cost of a round whose plan has 2,000 tokens, by how many tokens a chunk brings."""
    for chunk_tokens in (1, 8, 64):
        ms, tokens = asyncio.run(cpu_ms(tokenizer, 2000, chunk_tokens))
        rate = f"{tokens / ms:.0f} k tokens/s"
        yield name, str(chunk_tokens), f"{ms / ROUNDS:.2f} ms", f"{ms / ROUNDS / (WIDTH + 2):.2f} ms", rate


def growth(tokenizer: Tokenizer) -> Iterator[Line]:
    """CPU of a whole rollout from 1,000 to 100,000 tokens, and the straight line through it."""
    points = []
    for plan_tokens in (100, 1000, 2500, 8000, 24000):
        ms, tokens = asyncio.run(cpu_ms(tokenizer, plan_tokens, 64))
        points.append((tokens, ms))
        yield f"{tokens:,}", f"{ms:.2f} ms", f"{ms / tokens * 1e3:.2f} µs"
    slope, start = linear_regression(*zip(*points, strict=True))
    errors = [abs(start + slope * tokens - ms) / ms for tokens, ms in points]
    yield "fit", f"{start:.2f} ms + {slope * 1e3:.2f} µs a token", f"off by at most {max(errors):.0%}"


def _tokenizer() -> Tokenizer:
    """A byte-pair tokenizer in Rust, as models have."""
    import tempfile

    from train.tokenizers import save_tokenizer, train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        from pathlib import Path

        save_tokenizer(train_tokenizer([_filler(ByteTokenizer(), 5000)]), Path(folder))
        return HFTokenizer(folder)


def main() -> None:
    console, tokenizer = Console(), _tokenizer()
    table = Table("tokenizer", "tokens a chunk", "a round", "a call", "rate", title="rounds with plans of 2,000 tokens")
    for name, made in (("byte pairs", tokenizer), ("bytes", ByteTokenizer())):
        for line in rounds(name, made):
            table.add_row(*line)
    console.print(table)
    table = Table("sampled tokens", "CPU of the rollout", "a token", title="growth, 64 tokens a chunk")
    for line in growth(tokenizer):
        table.add_row(*line)
    console.print(table)


if __name__ == "__main__":
    main()
