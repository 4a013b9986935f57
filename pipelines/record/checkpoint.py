"""The record as it grows: parts written every few seconds by the driver alone, and what is done so far.

A row that stands in a part is done; a killed run loses what came since the last part and nothing else. Parts hold rows
in any order, so that a slow row holds up no other. Knows a few of the record's columns, not how rows are
judged.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.record import parts
from pipelines.record import rows as record
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
        self._next = _after(parts.names(store, folder))
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
            self._store.write_table(f"{self._folder}/part-{self._next:08d}.parquet", rows)
            self._next += 1
        self._tables, self._bytes, self._written = [], 0, time.monotonic()


def _after(names: list[str]) -> int:
    return int(names[-1].rpartition("-")[2].removesuffix(".parquet")) + 1 if names else 0


def done(store: Store) -> tuple[NDArray[np.int64], float]:
    """The positions of the rows that are done, in order, and what they cost."""
    tables = [store.open_parquet(name).read(columns=["position", "cost"]) for name in parts.names(store)]
    positions = [table.column("position").to_numpy() for table in tables]
    cost = sum(float(table.column("cost").to_numpy().sum()) for table in tables)
    return np.sort(np.concatenate([np.empty(0, np.int64), *positions])), cost


def forget_failed(store: Store) -> tuple[int, float]:
    """Takes rows whose requests failed out of the record, so that they are asked again; how many, and their cost."""
    import pyarrow.compute as pc

    count, cost = 0, 0.0
    for name in parts.names(store):
        table = store.open_parquet(name).read()
        failed = pc.equal(table.column("reason"), str(DropReason.REQUEST_FAILED)).fill_null(False)
        if pc.any(failed).as_py():
            count += pc.sum(failed).as_py()
            cost += pc.sum(table.filter(failed).column("cost")).as_py()
            store.write_table(name, table.filter(pc.invert(failed)))
    return count, cost
