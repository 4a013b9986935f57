"""Folders that appear whole or not at all. It knows nothing of what is in them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sprint.errors import SprintError


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Nobody else who asks may write to `folder`, made if it is missing, while the block runs.

    The lock goes with the process, however it ends. Where a disk knows no locks nobody is kept out. Raises SprintError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _is_taken(handle):
            raise SprintError(f"{folder} is being written by another run, expected another name, or to wait for it")
        yield
    finally:
        os.close(handle)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks
        return False
    return False


@contextmanager
def put_folder(folder: Path) -> Iterator[Path]:
    """A draft folder to fill; it takes the place of `folder` when the block ends, or nothing changes."""
    folder = folder.resolve()  # where a link leads, as the link itself cannot be removed like a folder
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    draft.replace(folder)


def share_file(source: Path, target: Path) -> None:
    """The same file under another name where the disk allows it, otherwise a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
