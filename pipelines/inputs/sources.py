"""The rows of the inputs without holding them: shards, in a fixed order, that tasks in any process read.

Knows files and rows, not what the rows mean. A row that cannot be read is still a row: it carries the file, the line
and what is wrong. However the inputs are cut, the rows and their positions are the same. Inputs: see
`pipelines.inputs.listing`; addresses: see `pipelines.inputs.filesystems`. Local paths must be readable on every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipelines.inputs import columnar, jsonl, listing
from pipelines.inputs.filesystems import display_name, open_filesystem, reaching
from pipelines.inputs.listing import Source
from sprint.errors import InputError
from sprint.rows import MAX_PARTS, MalformedRow, expand, writable

__all__ = ["RawRow", "Shard", "Source", "find", "read", "shards"]


@dataclass(frozen=True, slots=True)
class Shard:
    """`num_rows` rows of one file.

    first_row   the first one's line number in JSONL, else its row number, from 1
    start       the first one's number among all rows of all inputs, from 0
    offset, num_bytes   JSONL: where the shard's bytes are
    offset, skip        else: the block (`columnar.blocks`) that holds the first row, and how many rows of it go before
    """

    uri: str
    first_row: int
    num_rows: int
    start: int
    offset: int = 0
    num_bytes: int = 0
    skip: int = 0


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read: its value, or (`error`) why there is none. `where` names file and row for a person.

    `position` orders rows as the inputs do: the number of the file's row among all inputs times `MAX_PARTS`, plus the
    number of the part (a row of several generations is several rows).
    """

    where: str
    value: dict[str, Any]
    error: str = ""
    position: int = 0


def find(inputs: Iterable[str]) -> list[Source]:
    """The input files in a fixed order, each once. Raises InputError for an input that leads to none."""
    found: dict[str, Source] = {}
    for text in inputs:
        for source in listing.find(text):
            found.setdefault(source.uri, source)
    return list(found.values())


def shards(sources: Iterable[Source], rows_per_shard: int, limit: int | None = None) -> list[Shard]:
    """The inputs cut into shards, in order, up to `limit` rows of the files. Raises InputError when there are none."""
    cut: list[Shard] = []
    start = 0
    for source in sources:
        for shard in _shards_of(source.uri, rows_per_shard):
            num_rows = shard.num_rows if limit is None else min(shard.num_rows, limit - start)
            if num_rows <= 0:
                return cut
            cut.append(replace(shard, num_rows=num_rows, start=start))
            start += num_rows
    if not cut:
        raise InputError("the inputs hold no rows", field="inputs")
    return cut


def _shards_of(uri: str, rows_per_shard: int) -> Iterator[Shard]:
    return _jsonl_shards(uri, rows_per_shard) if _is_jsonl(uri) else _columnar_shards(uri, rows_per_shard)


def _is_jsonl(uri: str) -> bool:
    return display_name(uri).endswith(".jsonl")


def _jsonl_shards(uri: str, rows_per_shard: int) -> Iterator[Shard]:
    filesystem, path = open_filesystem(uri)
    with reaching(uri), filesystem.open_input_file(path) as file:
        for span in jsonl.spans(file, rows_per_shard):
            yield Shard(uri, span.first_line, span.num_rows, 0, span.offset, span.num_bytes)


def _columnar_shards(uri: str, rows_per_shard: int) -> Iterator[Shard]:
    """Shards run over the ends of blocks, so that many small blocks do not make many small shards."""
    starts: list[tuple[int, int]] = []
    total = 0
    for block, size in columnar.blocks(uri):
        starts += ((block, skip) for skip in range(-total % rows_per_shard, size, rows_per_shard))
        total += size
    for number, (block, skip) in enumerate(starts):
        first = number * rows_per_shard
        yield Shard(uri, first + 1, min(rows_per_shard, total - first), 0, block, skip=skip)


def read(shard: Shard) -> Iterator[RawRow]:
    """The rows of a shard, in order. Raises InputError when the file is no longer what was cut."""
    kind = "line" if _is_jsonl(shard.uri) else "row"
    for index, (number, value, error) in enumerate(_values(shard), shard.start):
        where = writable(f"{display_name(shard.uri)} {kind} {number}")  # a file's name may hold any bytes
        yield from _parts(where, value, writable(error), index * MAX_PARTS)


def _parts(where: str, value: dict[str, Any], error: str, position: int) -> Iterator[RawRow]:
    """A row as the rows that it holds."""
    if error:
        yield RawRow(where, {}, f"{where} {error}", position)
        return
    try:
        parts = expand(value)
    except MalformedRow as malformed:
        yield RawRow(where, {}, f"{where}: {malformed}", position)
        return
    for number, part in enumerate(parts):
        yield RawRow(where if len(parts) == 1 else f"{where} generation {number + 1}", part, "", position + number)


def _values(shard: Shard) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Line or row number, value, and what is wrong."""
    if not _is_jsonl(shard.uri):
        found = columnar.rows(shard.uri, shard.offset, shard.skip, shard.first_row - 1, shard.num_rows)
        yield from ((number, value, error) for number, (value, error) in enumerate(found, shard.first_row))
        return
    filesystem, path = open_filesystem(shard.uri)
    span = jsonl.Span(shard.first_row, shard.num_rows, shard.offset, shard.num_bytes)
    count = 0
    with reaching(shard.uri), filesystem.open_input_file(path) as file:
        for row in jsonl.rows(file, span):
            yield row
            count += 1
    if count < shard.num_rows:
        raise InputError(f"{display_name(shard.uri)} changed while it was read", field="inputs")
