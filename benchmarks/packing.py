"""Packing: the padding that is left, and seconds per million tokens from texts to rows on disk. No model, no torch.

    python -m benchmarks.packing [--traces FILE…] [--tokenizer FILE] [--examples N] [--row-tokens N…]

Traces are JSONL rows as `sprint curate` reads them, curated by rules; without any, those of the generated tasks are
taken. `--tokenizer` is a model folder or a `.tiktoken` file; without one, bytes. Padding is that of `--examples`
examples drawn from those, each a tenth longer or shorter at most: a few traces would mostly show their last row. The
lengths as they are stand beside it. Prints tables; asserts nothing.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.clock import best_s
from benchmarks.curation import read_rows
from sprint.batching import Row, bins, row_of, tight_length
from sprint.card import Instruction, Method, ModelCard
from sprint.curate import CurationOptions, curate_row
from sprint.curated import Curated
from sprint.render import Layout, Prompter, training_example
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.tokenizer import Tokenizer, load_tokenizer
from sprint.types import TrainingExample
from train.data import write_rows

KINDS = ((Method.SPRINT, Layout.EXACT), (Method.SPRINT, Layout.FLAT), (Method.RFT, Layout.FLAT))
CONTEXT = 1 << 20
_MADE = 200
_MANY = 200_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per million tokens: texts to ids, ids to rows, and rows packed and written."""

    encode_s: float
    rows_s: float
    write_s: float


def curated(traces: Sequence[Path]) -> list[Curated]:
    """What curation by rules keeps."""
    options, annotator = CurationOptions(require_gold=False), RulesAnnotator()
    found = [curate_row(row, annotator, options) for row in (read_rows(traces) if traces else _made())]
    return [one for one in found if one.reason is None]


def _made() -> Iterator[dict[str, object]]:
    for task in (get_task("chains", num_chains=6), get_task("countdown")):
        for problem in islice(task.problems(Split.TRAIN), _MADE):
            yield asdict(task.teach(problem))


def examples(kept: Sequence[Curated], tokenizer: Tokenizer, method: Method, layout: Layout) -> list[TrainingExample]:
    """The training examples of one method and layout, with the instruction that a fine-tuned model gets."""
    instruction = Instruction.SPRINT if method is Method.SPRINT else Instruction.SEQUENTIAL
    prompter = Prompter(tokenizer, ModelCard(method, instruction))
    texts = ((one, one.sprint_text if method is Method.SPRINT else one.rft_text) for one in kept)
    return [training_example(one.id, one.question, text, prompter, layout) for one, text in texts]


def speed(kept: Sequence[Curated], tokenizer: Tokenizer, method: Method, layout: Layout) -> Speed:
    """Best of a few runs each; ratios between them are of one process."""
    made = examples(kept, tokenizer, method, layout)
    rows = [row_of(example) for example in made]
    millions = sum(map(len, rows)) / 1e6
    encode_s = best_s(lambda: examples(kept, tokenizer, method, layout), 3)
    rows_s = best_s(lambda: [row_of(example) for example in made], 3)
    with tempfile.TemporaryDirectory() as folder:
        write_s = best_s(lambda: _write(rows, Path(folder)), 3)
    return Speed(encode_s / millions, rows_s / millions, write_s / millions)


def _write(rows: Sequence[Row], folder: Path) -> None:
    write_rows(rows, folder / "rows", None, CONTEXT, pad_id=0, tight=True)


def padding(lengths: Sequence[int], row_tokens: int) -> tuple[float, float]:
    """The share of padding in rows of this length, and the share of examples that are longer than one."""
    fitting = [length for length in lengths if length <= row_tokens]
    share = 1 - sum(fitting) / (len(bins(fitting, row_tokens)) * row_tokens) if fitting else 0.0
    return share, 1 - len(fitting) / len(lengths)


def drawn(lengths: Sequence[int], count: int) -> list[int]:
    """As many lengths as a real set has, each near one of those given."""
    rng = random.Random(0)
    return [round(length * rng.uniform(0.9, 1.1)) for length in rng.choices(lengths, k=count)]


def padding_table(kept: Sequence[Curated], tokenizer: Tokenizer, count: int, row_tokens: Sequence[int]) -> Table:
    table = Table("method, layout", "examples", "tokens each", "row tokens", "padding", "longer than a row")
    for method, layout in KINDS:
        real = [len(example) for example in examples(kept, tokenizer, method, layout)]
        for lengths in (real, drawn(real, count)):
            longest = -(-max(lengths) // 8) * 8
            for size in dict.fromkeys([longest, tight_length(lengths), *row_tokens]):
                share, longer = padding(lengths, size)
                mean = f"{sum(lengths) / len(lengths):,.0f}"
                table.add_row(
                    f"{method} {layout}", f"{len(lengths):,}", mean, f"{size:,}", f"{share:.2%}", f"{longer:.1%}"
                )
    return table


def speed_table(kept: Sequence[Curated], tokenizer: Tokenizer) -> Table:
    table = Table("method, layout", "texts to ids", "ids to rows", "rows to disk", "rows and disk, tokens/s")
    for method, layout in KINDS:
        found = speed(kept, tokenizer, method, layout)
        rate = 1e6 / (found.rows_s + found.write_s)
        seconds = [f"{value:.2f} s/M" for value in (found.encode_s, found.rows_s, found.write_s)]
        table.add_row(f"{method} {layout}", *seconds, f"{rate:,.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Padding and speed of packing.")
    parser.add_argument("--traces", type=Path, nargs="*", default=[])
    parser.add_argument("--tokenizer", default="bytes")
    parser.add_argument("--examples", type=int, default=1700)
    parser.add_argument("--row-tokens", type=int, nargs="*", default=[8192, 16384])
    args = parser.parse_args()
    kept, tokenizer, console = curated(args.traces), load_tokenizer(args.tokenizer), Console()
    console.print(padding_table(kept, tokenizer, args.examples, args.row_tokens))
    console.print(speed_table(kept, tokenizer))
    many = drawn([len(one.rft_text) for one in kept], _MANY)
    seconds = best_s(lambda: bins(many, 2 * max(many)), 2)
    console.print(f"{_MANY:,} documents into rows: {seconds:.2f} s, {sum(many) / seconds / 1e6:,.0f} M tokens/s")


if __name__ == "__main__":
    main()
