"""A run's file: a line is added as soon as it is known, and at the end the lines are put in order.

Of each line only the offset is held, so a run of any size takes little memory. It knows bytes and places, and of a line
only what it must to go on with a file that an earlier run left.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sprint.files import json_object

_NONE = -1


class Record:
    """Lines with places from 0. Use it as a context manager; `resume` may be called once, before anything is added."""

    def __init__(self, path: Path, num_places: int) -> None:
        self.path = path
        self._offsets = array("q", [_NONE]) * num_places
        self._file: BinaryIO | None = None

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def __contains__(self, place: int) -> bool:
        return self._offsets[place] != _NONE

    def resume(self, place_of: Callable[[dict[str, Any], int], int | None]) -> None:
        """Take over the lines of an earlier run.

        `place_of` says where a line (given with its number) stands, None to forget it. A last line that was not written
        to its end is cut off. Raises InputError for a file of something else.
        """
        draft = self._draft()
        with self.path.open("rb") as old, draft.open("wb") as new:
            for number, line in enumerate(_whole_lines(old), 1):
                place = place_of(json_object(line, f"{self.path} line {number}"), number)
                if place is not None:
                    self._offsets[place] = new.tell()
                    new.write(line)
        draft.replace(self.path)

    def add(self, place: int, row: Mapping[str, object]) -> None:
        """Add a line; it is the operating system's when this returns."""
        self.add_line(place, json.dumps(row, ensure_ascii=False).encode())

    def add_line(self, place: int, line: bytes) -> None:
        """The same, of a line that is JSON already and holds no line break."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        offset = self._file.tell()
        self._file.write(line + b"\n")
        self._file.flush()
        self._offsets[place] = offset

    def finish(self) -> None:
        """Put the lines there are in order."""
        self.__exit__()
        ordered = [offset for offset in self._offsets if offset != _NONE]
        if ordered == sorted(ordered):
            return
        draft = self._draft()
        with self.path.open("rb") as old, draft.open("wb") as new:
            for place, offset in enumerate(self._offsets):
                if offset != _NONE:
                    old.seek(offset)
                    self._offsets[place] = new.tell()
                    new.write(old.readline())
        draft.replace(self.path)

    def _draft(self) -> Path:
        return self.path.with_name(self.path.name + ".part")


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    return (line for line in file if line.endswith(b"\n") and line.strip())
