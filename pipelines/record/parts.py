"""Reads the record of a run back, in bounded memory: in input order, part by part, or one row.

The parts are those that `pipelines.record.checkpoint` wrote, with rows in any order; `position` says where a row stood.
Knows files and columns, not what is looked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.record import rows as record
from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from sprint.errors import InputError


def names(store: Store, folder: str = record.FOLDER) -> list[str]:
    """The names of the parts, in the order of writing."""
    return store.names(folder, ".parquet")


# --- in input order --------------------------------------------------------------------------------------------------


def in_order(store: Store) -> Iterator[Recorded]:
    """Every row of the record once, in input order.

    Only parts whose rows interleave are open at once, so memory does not grow with the record.
    """
    waiting = sorted(((_first(store, name), name) for name in names(store)), reverse=True)
    heap: list[tuple[int, int, dict[str, Any], Iterator[dict[str, Any]]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[-1][0] <= heap[0][0]):
            _push(heap, len(waiting), _values(store, waiting.pop()[1]))
        if not heap:
            continue
        _, number, values, others = heapq.heappop(heap)
        yield record.from_values(values)
        _push(heap, number, others)


def _push(heap: list[Any], number: int, values: Iterator[dict[str, Any]]) -> None:
    first = next(values, None)
    if first is not None:
        heapq.heappush(heap, (first["position"], number, first, values))


def _first(store: Store, name: str) -> int:
    """The lowest position of a part, which is its first."""
    group = store.open_parquet(name).read_row_group(0, columns=["position"])
    return int(group.column("position")[0].as_py()) if len(group) else 0


def _values(store: Store, name: str) -> Iterator[dict[str, Any]]:
    part = store.open_parquet(name)
    for group in range(part.num_row_groups):
        yield from part.read_row_group(group).to_pylist()


# --- where rows lie --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies: which part, which row group of it, which row of that."""

    part: str
    group: int
    row: int


def rows(store: Store, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Some columns of every row, with where it lies. Raises InputError where there is no record."""
    found = names(store)
    if not found:
        raise InputError(f"{store.name} is no curation run: it holds no {record.FOLDER}/*.parquet", field="run")
    for name in found:
        part = store.open_parquet(name)
        for group in range(part.num_row_groups):
            for row, values in enumerate(part.read_row_group(group, columns=list(columns)).to_pylist()):
                yield Place(name, group, row), values


def recorded(store: Store, place: Place) -> Recorded:
    """The whole row at `place`."""
    table = store.open_parquet(place.part).read_row_group(place.group)
    return record.from_values(table.slice(place.row, 1).to_pylist()[0])
