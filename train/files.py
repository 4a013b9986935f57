"""Folders that appear whole or not at all. It knows nothing of what is in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
