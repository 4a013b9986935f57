"""From a curated Parquet folder to packed rows in memory-mapped arrays, and from rows to batches.

The driver prepares the arrays once; every worker maps them and takes its share of each step from one seeded order, so
the cursor into the data is the step number and resuming is exact. It does not know models, optimizers or Ray.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sprint.batching import PADDING, Row, pack, pad, row_of
from sprint.card import Method
from sprint.errors import InputError, ProtocolError
from sprint.files import read_json, write_json
from sprint.render import Layout, Prompter, training_example

Array = NDArray[np.int32]
COLUMNS = ("id", "question", "method", "text")
FIELDS = ("ids", "labels", "positions", "documents", "streams", "visible")
_ROUND_TO = 8  # rows and batches end on a multiple of this


@dataclass(frozen=True, slots=True)
class Curated:
    """A training set as curation left it."""

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    texts: tuple[str, ...]
    method: Method


@dataclass(frozen=True, slots=True)
class RowsInfo:
    """What stands in a folder of rows. `fingerprint` is the same for the same rows."""

    num_rows: int
    row_tokens: int
    examples: int
    dropped: int
    longest_tokens: int
    fingerprint: str


# --- reading ---------------------------------------------------------------------------------------------------------


def read_curated(folder: Path) -> Curated:
    """The curated set in `folder`. Raises InputError for a missing folder, wrong columns, no rows or mixed methods."""
    files = _parquet_files(folder)
    rows = [row for file in files for row in _read(file)]
    if not rows:
        raise InputError(f"{folder} holds no training examples, expected at least one row", field="data")
    methods = sorted({str(row["method"]) for row in rows})
    if len(methods) > 1 or methods[0] not in tuple(Method):
        raise InputError(
            f"{folder}: column 'method' holds {', '.join(methods)}, expected one of sprint, rft in all rows"
        )
    ids, questions, texts = (tuple(str(row[name]) for row in rows) for name in ("id", "question", "text"))
    return Curated(ids, questions, texts, Method(methods[0]))


def _parquet_files(folder: Path) -> list[Path]:
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist", field="data")
    files = [folder] if folder.is_file() else sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder} holds no .parquet file, expected a curated training set", field="data")
    return files


def _read(file: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(file).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise InputError(f"{file} has no column {missing[0]!r}, expected the columns {', '.join(COLUMNS)}")
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file, columns=list(COLUMNS)).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not readable as Parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, 1):
        empty = [name for name in COLUMNS if not isinstance(row[name], str) or not row[name]]
        if empty:
            raise InputError(f"{file} row {number}: column {empty[0]!r} is {row[empty[0]]!r}, expected some text")
    return rows


# --- rows ------------------------------------------------------------------------------------------------------------


def encode(curated: Curated, prompter: Prompter, layout: Layout) -> list[Row]:
    """One row per example. Raises InputError naming the example that is not in the method's format."""
    rows = []
    for id, question, text in zip(curated.ids, curated.questions, curated.texts, strict=True):
        try:
            rows.append(row_of(training_example(id, question, text, prompter, layout)))
        except ProtocolError as error:
            raise InputError(f"training example {id!r}: {error}", field="text") from error
    return rows


def write_rows(rows: Sequence[Row], folder: Path, row_tokens: int | None, context: int, pad_id: int) -> RowsInfo:
    """Pack rows to one length and write them as arrays; examples longer than that are dropped and counted.

    `row_tokens` None means the longest example that `context`, the model's context in tokens, holds. Raises InputError
    when every example is too long.
    """
    longest = max(len(row) for row in rows)
    limit = min(row_tokens or _round_up(longest), context)
    kept = [row for row in rows if len(row) <= limit]
    if not kept:
        shortest = min(len(row) for row in rows)
        raise InputError(
            f"row_tokens is too small: the shortest of {len(rows)} examples has {shortest} tokens, a row {limit}",
            field="row_tokens",
        )
    packed = pack(kept, limit)
    fingerprint = _write_arrays([pad(row, limit, pad_id) for row in packed], folder)
    dropped = len(rows) - len(kept)
    info = RowsInfo(len(packed), limit, len(kept), dropped, longest, fingerprint)
    write_json(folder / "info.json", asdict(info))
    return info


def _round_up(n: int) -> int:
    return math.ceil(n / _ROUND_TO) * _ROUND_TO


def _write_arrays(rows: Sequence[Row], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name in FIELDS:
        array = np.array([getattr(row, name) for row in rows], dtype=np.int32)
        np.save(folder / f"{name}.npy", array)
        digest.update(array.tobytes())
    return digest.hexdigest()


class Rows:
    """Packed rows, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.info = RowsInfo(**read_json(folder / "info.json"))
        self.fields: dict[str, Array] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in FIELDS}
        documents = self.fields["documents"]
        self.lengths: Array = (documents != PADDING).sum(axis=1, dtype=np.int32)
        self.supervised: Array = (self.fields["labels"] >= 0).sum(axis=1, dtype=np.int32)
        self.plain = (documents <= 0).all(axis=1) & (self.fields["streams"] == 0).all(axis=1)

    def __len__(self) -> int:
        return self.info.num_rows

    def take(self, indices: Iterable[int]) -> dict[str, Array]:
        """The fields of these rows, cut to the longest of them."""
        chosen = np.fromiter(indices, dtype=np.int64)
        width = min(self.info.row_tokens, _round_up(int(self.lengths[chosen].max())))
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
