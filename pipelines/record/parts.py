"""Reads the record of a run back: its parts one after the other, in bounded memory, and single rows out of them.

Parts come in any order; `position` says where a row stood. Knows files and columns, not what is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.record import rows as record
from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from sprint.annotate import FOLD_LINES
from sprint.errors import InputError

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies: which part, which row group of it, which row of that."""

    part: str
    group: int
    row: int


def names(store: Store) -> list[str]:
    """The parts of a run. Raises InputError when there is none."""
    found = store.names(record.FOLDER, ".parquet") if store.exists(record.FOLDER) else []
    if not found:
        raise InputError(f"{store.place} is no curation run: it holds no {record.FOLDER}/*.parquet", field="run")
    return found


def rows(store: Store, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Some columns of every row, with where it lies."""
    for name in names(store):
        part = store.open_parquet(name)
        for group in range(part.num_row_groups):
            for row, values in enumerate(part.read_row_group(group, columns=list(columns)).to_pylist()):
                yield Place(name, group, row), values


def recorded(store: Store, place: Place) -> Recorded:
    """The whole row at `place`."""
    table = store.open_parquet(place.part).read_row_group(place.group)
    return record.from_values(table.slice(place.row, 1).to_pylist()[0])


def manifest(store: Store) -> dict[str, Any]:
    """The run's manifest; empty where the run is not finished."""
    return store.read_json(MANIFEST) if store.exists(MANIFEST) else {}


def fold_lines(manifest: Mapping[str, Any]) -> int:
    """The folding that the run was packed with."""
    settings = manifest.get("settings")
    found = settings.get("fold_lines") if isinstance(settings, Mapping) else None
    return found if isinstance(found, int) else FOLD_LINES


def annotator(manifest: Mapping[str, Any]) -> str:
    """Who annotated, in a few words; empty where the manifest does not say."""
    about = manifest.get("annotator")
    if not isinstance(about, Mapping):
        return ""
    return " ".join(str(about[name]) for name in ("name", "model") if about.get(name))
