"""Rows of Parquet and Arrow files, block by block: a Parquet row group or an Arrow record batch is never held whole.

Knows how the blocks of a file are found and passed over, not what is in the rows. Arrow files are read in both forms,
the stream that `datasets` saves and the file with a footer. A process remembers where in a file it stopped, so that
many small shards of one large block cost one pass over it and not one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.inputs.filesystems import display_name, fingerprint, open_filesystem, reaching
from sprint.errors import InputError

_BATCH_ROWS = 64
_BUFFER_BYTES = 4 * 1024 * 1024
_ARROW_MAGIC = b"ARROW1"


def blocks(uri: str) -> Iterator[tuple[int, int]]:
    """Key and number of rows of every block: row group, byte offset of a batch of a stream, or batch number."""
    filesystem, path = open_filesystem(uri)
    with reaching(uri), filesystem.open_input_file(path) as file:
        if _is_parquet(path):
            metadata = _parquet(file, uri).metadata
            yield from ((group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups))
            return
        reader, is_stream = _arrow(file, uri)
        yield from _stream_blocks(file, reader) if is_stream else _file_blocks(reader)


def _stream_blocks(file: Any, reader: Any) -> Iterator[tuple[int, int]]:
    """A stream with dictionaries is one block: its batches cannot be read without those that stand before them."""
    offset = file.tell()
    if "dictionary<" in str(reader.schema.types):
        yield offset, sum(batch.num_rows for batch in reader)
        return
    for batch in reader:
        yield offset, batch.num_rows
        offset = file.tell()


def _file_blocks(reader: Any) -> Iterator[tuple[int, int]]:
    return ((number, reader.get_batch(number).num_rows) for number in range(reader.num_record_batches))


def _is_parquet(path: str) -> bool:
    return path.endswith(".parquet")


def _parquet(file: Any, uri: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise _unreadable(uri, "Parquet", error) from error


def _arrow(file: Any, uri: str) -> tuple[Any, bool]:
    """A reader, and whether it is one of a stream; the file then stands at the first batch."""
    import pyarrow as pa

    is_stream = file.read(len(_ARROW_MAGIC)) != _ARROW_MAGIC
    file.seek(0)
    try:
        return (pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)), is_stream
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise _unreadable(uri, "Arrow", error) from error


def _unreadable(uri: str, kind: str, error: Exception) -> InputError:
    return InputError(f"{display_name(uri)} is not readable as {kind}: {_first_line(error)}", field="inputs")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


# --- reading ---------------------------------------------------------------------------------------------------------


class _Cursor:
    """A place in an open file. `row` is the next row's number from 0."""

    def __init__(self, batches: Iterator[Any], row: int) -> None:
        self.row = row
        self._batches, self._rest = batches, next(batches, None)

    def take(self, at_most: int) -> Any:
        """The next rows as one batch, at least one; None at the end of the file."""
        while self._rest is not None and not self._rest.num_rows:
            self._rest = next(self._batches, None)
        if self._rest is None:
            return None
        taken = self._rest.slice(0, at_most)
        self._rest = self._rest.slice(taken.num_rows)
        self.row += taken.num_rows
        return taken


_open: dict[tuple[str, str], _Cursor] = {}  # one at most: the place where the last shard ended


def rows(uri: str, block: int, skip: int, first_row: int, num_rows: int) -> Iterator[tuple[dict[str, Any], str]]:
    """`num_rows` rows from row `first_row` (from 0), which is number `skip` of its block, and what is wrong with each.

    Raises InputError when the file ends before, or cannot be read.
    """
    filesystem, path = open_filesystem(uri)
    with reaching(uri):
        key = (uri, fingerprint(filesystem, filesystem.get_file_info(path)))
        cursor = _open.pop(key, None)
        _open.clear()
        if cursor is None or not first_row - skip <= cursor.row <= first_row:
            cursor = _Cursor(_batches(filesystem, path, uri, block), first_row - skip)
        last = first_row + num_rows
        while cursor.row < last:
            batch = cursor.take((first_row if cursor.row < first_row else last) - cursor.row)
            if batch is None:
                raise InputError(f"{display_name(uri)} changed while it was read: it has {cursor.row} rows")
            if cursor.row > first_row:
                yield from _values(batch)
        _open[key] = cursor


def _batches(filesystem: Any, path: str, uri: str, block: int) -> Iterator[Any]:
    with filesystem.open_input_file(path) as file:
        if _is_parquet(path):
            parquet = _parquet(file, uri)
            groups = range(block, parquet.num_row_groups)
            yield from parquet.iter_batches(_BATCH_ROWS, row_groups=groups, use_threads=False)
            return
        reader, is_stream = _arrow(file, uri)
        if is_stream:
            yield from _stream_batches(file, reader, block)
        else:
            yield from (reader.get_batch(number) for number in range(block, reader.num_record_batches))


def _stream_batches(file: Any, reader: Any, offset: int) -> Iterator[Any]:
    """The batches of a stream from a byte offset on."""
    import pyarrow as pa

    if file.tell() == offset:
        yield from reader
        return
    file.seek(offset)
    while True:
        try:
            message = pa.ipc.read_message(file)
        except EOFError:
            return
        yield pa.ipc.read_record_batch(message, reader.schema)


def _values(batch: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows as plain values. One that cannot be had (bytes that are no text, a date out of range) is lost alone."""
    import pyarrow as pa

    troubles = (pa.ArrowException, ValueError, TypeError, OverflowError)
    try:
        values = batch.to_pylist()
    except troubles as error:
        if batch.num_rows == 1:
            yield {}, f"cannot be read: {_first_line(error)}"
            return
        for number in range(batch.num_rows):
            yield from _values(batch.slice(number, 1))
        return
    yield from ((value, "") for value in values)
