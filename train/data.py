"""From a curated set to packed rows in memory-mapped arrays, and from rows to batches.

The driver prepares the arrays once; every worker maps them and takes its share of each step from one seeded order, so
the cursor into the data is the step number and resuming is exact. It does not know models, optimizers or Ray.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sprint.batching import FIELDS, PADDING, Row, bins, row_of, tight_length
from sprint.errors import InputError, ProtocolError
from sprint.files import read_json, read_jsonl, write_json, write_jsonl
from sprint.render import Layout, Prompter, Supervise, training_example
from train.packing import Array, Spill, lay
from train.reading import Curated

_MEMBERS = "members.jsonl"
_ROUND_TO = 8  # rows and batches end on a multiple of this


@dataclass(frozen=True, slots=True)
class RowsInfo:
    """What stands in a folder of rows.

    dropped         examples that are longer than a row or than the model's context
    longest_tokens  of all examples, the dropped ones among them
    fingerprint     the same for the same rows
    tokens          in rows, padding not counted
    """

    num_rows: int
    row_tokens: int
    examples: int
    dropped: int
    longest_tokens: int
    fingerprint: str
    tokens: int = 0
    supervised_tokens: int = 0

    @property
    def padding(self) -> float:
        """The share of padding in the rows."""
        return 1 - self.tokens / (self.num_rows * self.row_tokens)


# --- rows ------------------------------------------------------------------------------------------------------------


def encode(
    curated: Curated,
    prompter: Prompter,
    layout: Layout,
    supervise: Supervise = Supervise.SAMPLED,
    vocabulary: int | None = None,
) -> Iterator[Row]:
    """One row per example, made as it is asked for. `vocabulary`: how many ids the model embeds.

    Raises InputError naming the example that is not in the method's format, that teaches nothing, or that holds ids
    which the model does not have.
    """
    for id, question, text in zip(curated.ids, curated.questions, curated.texts, strict=True):
        try:
            row = row_of(training_example(id, question, text, prompter, layout, supervise))
        except ProtocolError as error:
            raise InputError(f"training example {id!r}: {error}", field="text") from error
        problem = _problem(row, vocabulary)
        if problem:
            raise InputError(f"training example {id!r} {problem}", field="text")
        yield row


def _problem(row: Row, vocabulary: int | None) -> str:
    if not row.num_supervised:
        return f"has {len(row)} tokens and none is supervised, expected some text that the model writes"
    largest = max(row.ids)
    if vocabulary is not None and largest >= vocabulary:
        return f"holds token id {largest}, but the model embeds {vocabulary} ids, expected a tokenizer that fits it"
    return ""


def write_rows(
    rows: Iterable[Row], folder: Path, row_tokens: int | None, context: int, pad_id: int, tight: bool = False
) -> RowsInfo:
    """Pack examples into rows of one length and write them as arrays.

    Examples longer than a row, or reaching beyond `context` (the model's, in tokens), are dropped and counted. A row
    may be longer than the context, as every example in it begins at position 0. `row_tokens` None means the longest
    example that fits the context; with `tight` more, where less padding is left then. Raises InputError when nothing is
    left.
    """
    with Spill(folder.parent) as spill:
        for row in rows:
            spill.add(row)
        limit, kept = _fitting(spill, row_tokens, context, tight)
        lengths = [spill.lengths[index] for index in kept]
        shared = [[kept[number] for number in numbers] for numbers in bins(lengths, limit)]
        fingerprint = lay(spill, shared, limit, pad_id, folder)
        info = RowsInfo(
            num_rows=len(shared),
            row_tokens=limit,
            examples=len(kept),
            dropped=len(spill) - len(kept),
            longest_tokens=max(spill.lengths),
            fingerprint=fingerprint,
            tokens=sum(lengths),
            supervised_tokens=sum(spill.supervised[index] for index in kept),
        )
        write_jsonl(folder / _MEMBERS, ({"examples": numbers} for numbers in shared))
    write_json(folder / "info.json", asdict(info))
    return info


def members(folder: Path) -> list[list[int]]:
    """Which examples share each row of a folder of rows, by their place in the set."""
    return [line["examples"] for line in read_jsonl(folder / _MEMBERS)]


def _fitting(spill: Spill, row_tokens: int | None, context: int, tight: bool) -> tuple[int, list[int]]:
    """The length of a row, and the examples that fit it and the context."""
    if not len(spill):
        raise InputError("there are no training examples, expected at least one", field="data")
    within = [index for index, reach in enumerate(spill.reaches) if reach <= context]
    if not within:
        raise InputError(
            f"the model's context of {context} tokens is too small: the shortest of {len(spill)} examples reaches "
            f"{min(spill.reaches)}",
            field="start",
        )
    lengths = [spill.lengths[index] for index in within]
    limit = row_tokens or (tight_length(lengths, _ROUND_TO) if tight else _round_up(max(lengths)))
    kept = [index for index in within if spill.lengths[index] <= limit]
    if not kept:
        raise InputError(
            f"row_tokens is too small: the shortest of {len(within)} examples has {min(lengths)} tokens, a row {limit}",
            field="row_tokens",
        )
    return limit, kept


def _round_up(n: int) -> int:
    return math.ceil(n / _ROUND_TO) * _ROUND_TO


class Rows:
    """Packed rows, memory-mapped.

    lengths, supervised  tokens of each row, and how many of them carry loss
    plain                whether a row is one main thread
    has_branches         whether any row holds branches
    whole                batches are not cut to their longest row, for attention that is compiled for one shape
    """

    def __init__(self, folder: Path, whole: bool = False) -> None:
        self.whole = whole
        self.info = RowsInfo(**read_json(folder / "info.json"))
        self.fields: dict[str, Array] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in FIELDS}
        documents = self.fields["documents"]
        self.lengths: Array = (documents != PADDING).sum(axis=1, dtype=np.int32)
        self.supervised: Array = (self.fields["labels"] >= 0).sum(axis=1, dtype=np.int32)
        unbranched = (self.fields["streams"] == 0).all(axis=1)
        self.has_branches = not unbranched.all()
        self.plain = (documents <= 0).all(axis=1) & unbranched

    def __len__(self) -> int:
        return self.info.num_rows

    def take(self, indices: Iterable[int]) -> dict[str, Array]:
        """The fields of these rows, cut to the longest of them."""
        chosen = np.fromiter(indices, dtype=np.int64)
        longest = self.info.row_tokens if self.whole else _round_up(int(self.lengths[chosen].max()))
        width = min(self.info.row_tokens, longest)
        return {name: np.asarray(array[chosen, :width]) for name, array in self.fields.items()}


# --- order -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """Which rows each worker reads at each step: one permutation per epoch, laid end to end.

    A step takes `world` × `accumulation` × `micro_rows` rows; worker r takes every world-th of them. The last step goes
    on into the next permutation, so that all workers take equally many steps and no row is left out.
    """

    num_rows: int
    micro_rows: int
    accumulation: int
    world: int
    seed: int

    @property
    def rows_per_step(self) -> int:
        return self.micro_rows * self.accumulation * self.world

    def steps(self, epochs: float) -> int:
        """Optimizer steps in which every row is read `epochs` times, at least."""
        return max(1, math.ceil(self.num_rows * epochs / self.rows_per_step))

    def step_rows(self, step: int) -> list[int]:
        """Rows of `step` (from 0), of all workers."""
        start = step * self.rows_per_step
        return [self._row(i) for i in range(start, start + self.rows_per_step)]

    def worker_rows(self, step: int, rank: int) -> list[list[int]]:
        """Rows of one worker at `step`: a list per micro step."""
        mine = self.step_rows(step)[rank :: self.world]
        return [mine[i : i + self.micro_rows] for i in range(0, len(mine), self.micro_rows)]

    def _row(self, place: int) -> int:
        epoch, within = divmod(place, self.num_rows)
        return int(_permutation(self.num_rows, self.seed, epoch)[within])


_permutations: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _permutation(num_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of one epoch; the two latest are kept."""
    key = (num_rows, seed, epoch)
    if key not in _permutations:
        while len(_permutations) > 1:
            _permutations.pop(next(iter(_permutations)))
        _permutations[key] = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return _permutations[key]
