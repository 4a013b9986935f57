"""Tells one model from another: a short name for what an engine samples with.

It knows model folders and engine arguments, and reads no weights: names, sizes and times of the files stand for them.
The name is made once, where the application is built, so that all nodes mean the same by it.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from serve_app.config import PoolConfig

_NAME_BYTES = 6


def version_of(pool: PoolConfig) -> str:
    """The name of the model of a pool with the arguments of its engine."""
    folder = pool.model.resolve()
    said: list[Any] = [str(folder), pool.context_tokens, pool.engine, _files(folder)]
    text = json.dumps(said, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=_NAME_BYTES).hexdigest()


def _files(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
