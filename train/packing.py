"""Documents on their way into rows: spilled to one file as they come, then laid into arrays of one row length.

So that a set of any size takes the memory of one document. What ends up on disk is, number for number, what
`sprint.batching.pack` and `pad` give; here it is done with arrays. It does not know where documents come from.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sprint.batching import FIELDS, IGNORED, PADDING, Row

Array = NDArray[np.int32]


class Spill:
    """Documents in a file without a name, on the disk of `folder`, that goes when this is closed.

    lengths     tokens of each
    reaches     positions that each needs of a model's context
    supervised  tokens of each that carry loss
    """

    def __init__(self, folder: Path) -> None:
        self.lengths: list[int] = []
        self.reaches: list[int] = []
        self.supervised: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when this is
        self._starts = [0]
        self._numbers: Array | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._numbers = None
        self._file.close()

    def __len__(self) -> int:
        return len(self.lengths)

    def add(self, document: Row) -> None:
        self._file.write(np.array([getattr(document, name) for name in FIELDS], dtype=np.int32).data)
        self.lengths.append(len(document))
        self.reaches.append(1 + max(document.positions, default=-1))
        self.supervised.append(document.num_supervised)
        self._starts.append(self._starts[-1] + len(FIELDS) * len(document))

    def read(self, index: int) -> Array:
        """Document `index`, when all are there: (fields, positions)."""
        if self._numbers is None:
            self._file.flush()
            self._numbers = np.memmap(self._file, dtype=np.int32, mode="r")
        return self._numbers[self._starts[index] : self._starts[index + 1]].reshape(len(FIELDS), -1)


def lay(spill: Spill, members: Sequence[Sequence[int]], row_tokens: int, pad_id: int, folder: Path) -> str:
    """Write one array per field into `folder`: (rows, row_tokens). Gives a digest of all numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    filler = {"ids": pad_id, "labels": IGNORED, "documents": PADDING}
    arrays = [_array(folder / f"{name}.npy", (len(members), row_tokens), filler.get(name, 0)) for name in FIELDS]
    for row, documents in enumerate(members):
        at = 0
        for number, index in enumerate(documents):
            block = spill.read(index)
            here = slice(at, at + block.shape[1])
            for array, name, values in zip(arrays, FIELDS, block, strict=True):
                array[row, here] = number if name == "documents" else values
            at = here.stop
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()


def _array(path: Path, shape: tuple[int, int], value: int) -> Array:
    array: Array = np.lib.format.open_memmap(path, "w+", np.int32, shape)  # type: ignore[no-untyped-call]
    array.fill(value)
    return array
