"""The key for a server of this project's own: read from the environment, never from a command line or a file."""

from __future__ import annotations

import os

KEY_VARIABLE = "SPRINT_API_KEY"


def bearer() -> dict[str, str]:
    """The header that carries the key in `SPRINT_API_KEY`; nothing where there is none."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return {"authorization": f"Bearer {key}"} if key else {}
