"""A run's folder, on a disk or in an object store: whole files, never half written.

Knows bytes and names. On a disk a file appears by renaming; object stores show an object only when all of it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipelines.inputs.filesystems import display_name, one_line, open_filesystem
from sprint.errors import InputError


class Store:
    """The folder at a path or URI (`s3://bucket/run`), which need not exist yet."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self._files, self._root = open_filesystem(self.place)

    @property
    def name(self) -> str:
        """The place as it may be shown: an address may hold keys."""
        return display_name(self.place)

    def path(self, name: str = "") -> str:
        """Where a file stands inside the filesystem."""
        return f"{self._root}/{name}" if name else self._root

    @property
    def is_local(self) -> bool:
        return str(self._files.type_name) == "local"

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole. Raises InputError when it cannot be written."""
        with self.writer(name) as file:
            file.write(content)

    @contextmanager
    def writer(self, name: str) -> Iterator[Any]:
        """A binary file to write piece by piece; it appears, whole, when the block ends without an error."""
        path = self.path(name)
        draft = f"{path}.part" if self.is_local else path
        try:
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(draft) as file:
                yield file
            if draft != path:
                self._files.move(draft, path)
        except OSError as error:
            raise InputError(f"{self.name}/{name} cannot be written: {one_line(error)}", field="out") from error

    def read(self, name: str) -> bytes:
        """A file's content. Raises InputError when it cannot be read."""
        try:
            with self._files.open_input_stream(self.path(name)) as file:
                return bytes(file.read())
        except OSError as error:
            raise InputError(f"{self.name}/{name} cannot be read: {one_line(error)}") from error

    def write_json(self, name: str, value: object) -> None:
        self.write(name, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object. Raises InputError when it is none."""
        try:
            value = json.loads(self.read(name))
        except ValueError as error:
            raise InputError(f"{self.name}/{name} is not readable as JSON: {error}") from error
        if not isinstance(value, Mapping):
            raise InputError(f"{self.name}/{name} holds a JSON {type(value).__name__}, expected an object")
        return dict(value)

    def write_table(self, name: str, table: Any, row_group_rows: int = 64) -> None:
        """Writes an Arrow table as Parquet; small row groups let a reader take rows without the whole file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=row_group_rows, compression="zstd")
        self.write(name, sink.getvalue())

    def open_parquet(self, name: str) -> Any:
        """A `pyarrow.parquet.ParquetFile`. Raises InputError when it is none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self._files.open_input_file(self.path(name)))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{self.name}/{name} is not readable as Parquet: {one_line(error)}") from error

    def exists(self, name: str = "") -> bool:
        from pyarrow import fs

        return bool(self._files.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        from pyarrow import fs

        return bool(self._files.get_file_info(self._root).type == fs.FileType.File)

    def names(self, folder: str = "", suffix: str = "") -> list[str]:
        """The names of the files and folders right under `folder`, in order, with `folder` in front."""
        from pyarrow import fs

        found = self._files.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        prefix = f"{folder}/" if folder else ""
        return sorted(prefix + info.base_name for info in found if info.base_name.endswith(suffix))

    def clear(self, last: str) -> None:
        """Removes everything in the folder, `last` at the end: as long as it stands, the rest is known to be ours."""
        for name in self.names():
            if name != last:
                self.remove(name)
        self.remove(last)

    def remove(self, name: str) -> None:
        """Removes a file or a folder with all that is in it; nothing when there is none."""
        from pyarrow import fs

        kind = self._files.get_file_info(self.path(name)).type
        if kind == fs.FileType.Directory:
            self._files.delete_dir(self.path(name))
        elif kind == fs.FileType.File:
            self._files.delete_file(self.path(name))
