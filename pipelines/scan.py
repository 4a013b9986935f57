"""The first pass over the inputs: reads every row once, cheaply, so that nothing is annotated that need not be.

It finds how many rows there are, which are copies of earlier ones and which share an id. Keeps 25 bytes a row; knows
nothing of annotation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import dataset
from pipelines.inputs import sources
from pipelines.inputs.filesystems import display_name
from pipelines.inputs.sources import RawRow, Shard
from sprint import answers
from sprint.curate import given_answer
from sprint.hashing import hash64
from sprint.rows import MAX_PARTS, MalformedRow, digest, digest_number, read_trace, writable
from sprint.types import Trace

_ROWS_PER_TASK = 2048


@dataclass(frozen=True)
class Scan:
    """What stands in the inputs: arrays over rows, in input order; a digest or id of 0 means there is none.

    good             whether a row looks as if it could be kept: closed, and its answer spelled as the gold one
    num_unreadable   rows that hold no trace; `first_error` says what is wrong with the first of them
    """

    positions: NDArray[np.int64]
    digests: NDArray[np.uint64]
    ids: NDArray[np.uint64]
    good: NDArray[np.bool_]
    num_unreadable: int
    first_error: str

    def __len__(self) -> int:
        return len(self.positions)

    def duplicates(self) -> dict[int, int]:
        """Position of each row that repeats question and reasoning of another, and the position of that one.

        The one that counts is the first that looks as if it could be kept, else the first: the same trace with a wrong
        gold answer, or marked as unclosed, must not stand in the way of a good one.
        """
        return {int(self.positions[i]): int(self.positions[j]) for i, j in self._repeats(self.digests)}

    def copies(self) -> list[int]:
        """Positions of the rows whose id another, different row has that comes first."""
        ids = self.ids.copy()
        for i, _ in self._repeats(self.digests):
            ids[i] = 0
        return [int(self.positions[i]) for i, _ in self._repeats(ids)]

    def _repeats(self, values: NDArray[np.uint64]) -> list[tuple[int, int]]:
        """(index, index of the one that counts) of every value that stands elsewhere too, zeros aside, in order."""
        order = np.lexsort((np.arange(len(values)), ~self.good, values))
        starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
        counts = np.repeat(order[starts], np.diff(np.r_[starts, len(order)])) if len(order) else order
        of = np.empty_like(order)
        of[order] = counts
        again = np.flatnonzero((of != np.arange(len(values))) & (values != 0))
        return [(int(i), int(of[i])) for i in again]


def scan(shards: Sequence[Shard], columns: Mapping[str, str], cpus_per_task: float) -> Scan:
    """Reads all shards on the Ray there is."""
    num_rows = sum(shard.num_rows for shard in shards)
    blocks = max(1, min(len(shards), -(-num_rows // _ROWS_PER_TASK)))
    found = dataset.dataset([asdict(shard) for shard in shards], blocks).map_batches(
        scan_shards, fn_kwargs={"columns": dict(columns)}, batch_format="pyarrow", num_cpus=cpus_per_task
    )
    return _gathered(dataset.tables(found))


def _gathered(tables: Iterable[Any]) -> Scan:
    import pyarrow as pa

    table = pa.concat_tables(tables).sort_by("position").combine_chunks()
    positions, digests, ids, good = (table.column(name).to_numpy() for name in ("position", "digest", "id", "good"))
    errors = [error for error in table.column("error").to_pylist() if error]
    return Scan(positions, digests, ids, good, len(errors), errors[0] if errors else "")


def scan_shards(batch: Any, columns: Mapping[str, str]) -> Any:
    """A Ray Data function: a table of shards in, a row of numbers for each of their rows out."""
    import pyarrow as pa

    rows = [_scanned(raw, columns) for fields in batch.to_pylist() for raw in sources.read(Shard(**fields))]
    kinds = (("position", pa.int64()), ("digest", pa.uint64()), ("id", pa.uint64()), ("good", pa.bool_()))
    return pa.Table.from_pylist(rows, schema=pa.schema([*kinds, ("error", pa.string())]))


def _scanned(raw: RawRow, columns: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"position": raw.position, "digest": 0, "id": 0, "good": False, "error": writable(raw.error)}
    if raw.error:
        return row
    try:
        trace = read_trace(raw.value, columns)
    except MalformedRow as error:
        return row | {"error": writable(f"{raw.where}: {error}")}
    return row | {"digest": digest_number(digest(trace)), "id": hash64(trace.id), "good": _looks_good(trace)}


def _looks_good(trace: Trace) -> bool:
    given = given_answer(trace)
    return trace.closed and bool(given) and answers.normalise(given) == answers.normalise(trace.answer)


class Places:
    """Says where a row stands, for a person, from its position."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._files = [(next(group).start, uri) for uri, group in groupby(shards, key=lambda shard: shard.uri)]
        self._starts = [start for start, _ in self._files]

    def __getitem__(self, position: int) -> str:
        index = position // MAX_PARTS
        start, uri = self._files[bisect_right(self._starts, index) - 1]
        return f"{display_name(uri)} row {index - start + 1}"
