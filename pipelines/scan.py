"""The first pass over the inputs: reads every row once, cheaply, so that nothing is annotated that need not be.

It finds how many rows there are, which are copies of earlier ones and which share an id. Keeps 24 bytes a row; knows
nothing of annotation.
"""

from __future__ import annotations

import hashlib
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
from sprint.rows import MAX_PARTS, MalformedRow, digest, read_trace

_ROWS_PER_TASK = 2048


@dataclass(frozen=True)
class Scan:
    """What stands in the inputs: arrays over rows, in input order; a digest or id of 0 means there is none.

    num_unreadable   rows that hold no trace; `first_error` says what is wrong with the first of them
    """

    positions: NDArray[np.int64]
    digests: NDArray[np.uint64]
    ids: NDArray[np.uint64]
    num_unreadable: int
    first_error: str

    def __len__(self) -> int:
        return len(self.positions)

    def duplicates(self) -> dict[int, int]:
        """Position of each row that repeats question and reasoning of an earlier one, and the position of that one."""
        return {int(self.positions[i]): int(self.positions[j]) for i, j in _repeats(self.digests)}

    def copies(self) -> dict[int, int]:
        """Position of each row whose id an earlier, different row has; the how-manieth with that id it is (from 2)."""
        ids = self.ids.copy()
        for i, _ in _repeats(self.digests):
            ids[i] = 0
        seen: dict[int, int] = {}
        found: dict[int, int] = {}
        for i, first in _repeats(ids):
            seen[first] = seen.get(first, 1) + 1
            found[int(self.positions[i])] = seen[first]
        return found


def _repeats(values: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """(index, first index) of every value that stood before, zeros aside, in order."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    of = first[inverse]
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
    positions, digests, ids = (table.column(name).to_numpy() for name in ("position", "digest", "id"))
    errors = [error for error in table.column("error").to_pylist() if error]
    return Scan(positions, digests, ids, len(errors), errors[0] if errors else "")


def scan_shards(batch: Any, columns: Mapping[str, str]) -> Any:
    """A Ray Data function: a table of shards in, a row of numbers for each of their rows out."""
    import pyarrow as pa

    rows = [_scanned(raw, columns) for fields in batch.to_pylist() for raw in sources.read(Shard(**fields))]
    kinds = (("position", pa.int64()), ("digest", pa.uint64()), ("id", pa.uint64()), ("error", pa.string()))
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds)))


def _scanned(raw: RawRow, columns: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"position": raw.position, "digest": 0, "id": 0, "error": raw.error}
    if raw.error:
        return row
    try:
        trace = read_trace(raw.value, columns)
    except MalformedRow as error:
        return row | {"error": f"{raw.where}: {error}"}
    return row | {"digest": int(digest(trace)[:16], 16), "id": _hash(trace.id)}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Places:
    """Says where a row stands, for a person, from its position."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._files = [(next(group).start, uri) for uri, group in groupby(shards, key=lambda shard: shard.uri)]
        self._starts = [start for start, _ in self._files]

    def __getitem__(self, position: int) -> str:
        index = position // MAX_PARTS
        start, uri = self._files[bisect_right(self._starts, index) - 1]
        return f"{display_name(uri)} row {index - start + 1}"
