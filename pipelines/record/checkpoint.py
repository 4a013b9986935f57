"""The record as it grows: parts written every few seconds by the driver alone, and read back in input order.

A row that stands in a part is done; a killed run loses what came since the last part and nothing else. Parts hold rows
in any order, so that a slow row holds up no other. Knows the record's columns it sorts by, not how rows are judged.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.record import rows as record
from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from sprint.types import DropReason

_MOST_BYTES = 64 << 20


class Checkpoint:
    """Writes tables of finished rows to the store. A context: what is left is written however the block ends.

    every_s  seconds between parts
    folder, order   where parts go, and the column that the rows of a part are sorted by
    """

    def __init__(self, store: Store, every_s: float, folder: str = record.FOLDER, order: str = "position") -> None:
        self._store, self._every_s, self._folder, self._order = store, every_s, folder, order
        self._next = _after(parts(store, folder))
        self._tables: list[Any] = []
        self._bytes, self._written = 0, time.monotonic()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, table: Any) -> None:
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes >= _MOST_BYTES or time.monotonic() - self._written >= self._every_s:
            self.flush()

    def flush(self) -> None:
        """Writes what has come since the last part."""
        import pyarrow as pa

        if any(len(table) for table in self._tables):
            rows = pa.concat_tables(self._tables).sort_by(self._order)
            self._store.write_table(f"{self._folder}/part-{self._next:06d}.parquet", rows)
            self._next += 1
        self._tables, self._bytes, self._written = [], 0, time.monotonic()


def parts(store: Store, folder: str = record.FOLDER) -> list[str]:
    """The names of the parts, in the order of writing."""
    return store.names(folder, ".parquet")


def _after(names: list[str]) -> int:
    return int(names[-1].rpartition("-")[2].removesuffix(".parquet")) + 1 if names else 0


def done(store: Store) -> tuple[NDArray[np.int64], float]:
    """The positions of the rows that are done, in order, and what they cost."""
    tables = [store.open_parquet(name).read(columns=["position", "cost"]) for name in parts(store)]
    positions = [table.column("position").to_numpy() for table in tables]
    cost = sum(float(table.column("cost").to_numpy().sum()) for table in tables)
    return np.sort(np.concatenate([np.empty(0, np.int64), *positions])), cost


def forget_failed(store: Store) -> int:
    """Takes rows whose requests failed out of the record, so that they are asked again; how many there were."""
    import pyarrow.compute as pc

    count = 0
    for name in parts(store):
        table = store.open_parquet(name).read()
        failed = pc.equal(table.column("reason"), str(DropReason.REQUEST_FAILED)).fill_null(False)
        if pc.any(failed).as_py():
            count += pc.sum(failed).as_py()
            store.write_table(name, table.filter(pc.invert(failed)))
    return count


def rows(store: Store, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Every row of the record once, in input order, as values of `columns` (default: all).

    Only parts whose rows interleave are open at once, so memory does not grow with the record.
    """
    wanted = columns if columns is None or "position" in columns else ["position", *columns]
    waiting = sorted(((_first(store, name), name) for name in parts(store)), reverse=True)
    heap: list[tuple[int, int, dict[str, Any], Iterator[dict[str, Any]]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[-1][0] <= heap[0][0]):
            _push(heap, len(waiting), _part_rows(store, waiting.pop()[1], wanted))
        if not heap:
            continue
        _, number, values, others = heapq.heappop(heap)
        yield values
        _push(heap, number, others)


def recorded(store: Store) -> Iterator[Recorded]:
    """Every row of the record, in input order."""
    return map(record.from_values, rows(store))


def _push(heap: list[Any], number: int, values: Iterator[dict[str, Any]]) -> None:
    first = next(values, None)
    if first is not None:
        heapq.heappush(heap, (first["position"], number, first, values))


def _first(store: Store, name: str) -> int:
    """The lowest position of a part, which is its first."""
    group = store.open_parquet(name).read_row_group(0, columns=["position"])
    return int(group.column("position")[0].as_py()) if len(group) else 0


def _part_rows(store: Store, name: str, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    file = store.open_parquet(name)
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group, columns=columns).to_pylist()
