"""Who may write: one run at a time has a file or a folder. It knows nothing of what is written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sprint.errors import SprintError


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Nobody else who asks may write `path` while the block runs; its folder is made if it is missing.

    The lock is a file beside it, so that `path` itself may be replaced meanwhile, and is gone afterwards. It goes with
    the process, however that ends: a lock file left behind locks nobody out. Raises SprintError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".lock")
    handle = _locked(beside, path)
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def sole_writer_in(folder: Path) -> Iterator[None]:
    """The same of all that is in a folder, made if it is missing. Raises SprintError."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _is_taken(handle):
            raise _taken(folder)
        yield
    finally:
        os.close(handle)


def _locked(beside: Path, path: Path) -> int:
    """The handle of a lock that is held: of the file that has the name now, not of one removed since it was opened."""
    while True:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
        if _is_taken(handle):
            os.close(handle)
            raise _taken(path)
        if beside.exists() and os.fstat(handle).st_ino == beside.stat().st_ino:
            return handle
        os.close(handle)


def _taken(path: Path) -> SprintError:
    return SprintError(f"{path} is being written by another run, expected another name, or to wait for it")


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks
        return False
    return False
