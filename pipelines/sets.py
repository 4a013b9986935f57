"""The folder that a curation leaves behind, written row by row into a draft and put in place whole at the end.

`sprint/` and `rft/` hold the training sets (Parquet, same ids in the same order), `dropped.jsonl` one line for every
row not kept, `counts.json` the numbers and `report.html` the page. Knows files, not how rows were curated.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sprint.curate import Curated
from sprint.errors import InputError

COUNTS = "counts.json"
METHODS = ("sprint", "rft")


def check_target(out: Path, overwrite: bool, inputs: list[Path]) -> None:
    """Raises InputError when writing `out` would destroy something that is not an earlier curation."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} exists and is not a folder", field="out")
    if any(out.resolve() in path.resolve().parents for path in inputs):
        raise InputError(f"{out} holds input files; choose another output folder", field="out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{out} exists and is not empty; choose another folder or pass overwrite", field="out")
    if not (out / COUNTS).is_file():
        raise InputError(f"{out} is not the output of a curation (no {COUNTS}), so it is not overwritten", field="out")


class Draft:
    """The output folder in the making. A context: on an error nothing is left, else the draft becomes `out`."""

    def __init__(self, out: Path, rows_per_file: int) -> None:
        self.out = out
        self._rows_per_file = rows_per_file

    def __enter__(self) -> Draft:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", dir=self.out.parent))
        except OSError as error:
            raise InputError(f"{self.out} cannot be written: {error.strerror}", field="out") from error
        self.folder.chmod(0o755)
        self._dropped = (self.folder / "dropped.jsonl").open("w", encoding="utf-8")
        self._sets = [_ParquetSet(self.folder / method, self._rows_per_file) for method in METHODS]
        return self

    def add(self, row: Curated, where: str) -> None:
        """Writes one row where it belongs."""
        if row.is_kept:
            for method, rows in zip(METHODS, self._sets, strict=True):
                rows.add(_training_row(row, method))
            return
        line = {"id": row.id, "where": where, "reason": row.reason, "detail": row.detail}
        numbers = {"num_rounds": row.num_rounds, "num_executions": row.num_executions, "ratio": round(row.ratio, 4)}
        self._dropped.write(json.dumps(line | (numbers if row.num_steps else {}), ensure_ascii=False) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dropped.close()
        for rows in self._sets:
            rows.close()
        if error is not None:
            shutil.rmtree(self.folder)
        else:
            self._put_in_place()

    def _put_in_place(self) -> None:
        """Two renames where there was an output before; the old one is deleted only when the new one stands."""
        if not self.out.exists():
            self.folder.rename(self.out)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.old.", dir=self.out.parent))
        self.out.rename(old / "output")
        self.folder.rename(self.out)
        shutil.rmtree(old)


def _training_row(row: Curated, method: str) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "question": row.question,
        "answer": row.answer,
        "method": method,
        "text": row.sprint_text if method == "sprint" else row.rft_text,
        "num_rounds": row.num_rounds,
        "num_executions": row.num_executions,
        "ratio": row.ratio,
    }


class _ParquetSet:
    """A folder of numbered Parquet files; at least one, so that an empty set still has its columns."""

    def __init__(self, folder: Path, rows_per_file: int) -> None:
        folder.mkdir()
        self._folder, self._rows_per_file = folder, rows_per_file
        self._rows: list[Mapping[str, Any]] = []
        self._num_files = 0

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_file:
            self._flush()

    def close(self) -> None:
        if self._rows or not self._num_files:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = [pa.field(name, pa.string()) for name in ("id", "question", "answer", "method", "text")]
        counts = [pa.field(name, pa.int32()) for name in ("num_rounds", "num_executions")]
        schema = pa.schema([*texts, *counts, pa.field("ratio", pa.float64())])
        table = pa.Table.from_pylist(self._rows, schema=schema)
        pq.write_table(table, self._folder / f"part-{self._num_files:05d}.parquet")
        self._rows, self._num_files = [], self._num_files + 1
