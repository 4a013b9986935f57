"""What a training run of a test begins with: a curated set, and a small untrained model made from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from train.models import prepare


def write_beginning(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    """Write the set to `folder`/data and the model to `folder`/start; the model's folder."""
    (folder / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "data" / "part.parquet")
    return prepare([f"{row['question']}{row['text']}" for row in rows], folder / "start")
