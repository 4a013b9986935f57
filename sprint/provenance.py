"""Which code this is, for whatever is made with it: version, commit where there is one, and a hash of the sources.

It knows files and git; nothing of what is made.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import sprint

_ROOT = Path(__file__).resolve().parent.parent  # where the rooms stand


def code(*rooms: str) -> dict[str, str]:
    """`version`, `commit` (empty without git) and `sources`, a hash of the Python files of these rooms."""
    files = sorted(path for room in rooms for path in (_ROOT / room).rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    return {"version": sprint.__version__, "commit": _commit(), "sources": digest}


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return ""  # no git here
    return found.stdout.strip() if found.returncode == 0 else ""
