"""Serves as `sprint serve` does, with replicas that keep time only: `-m benchmarks.simulation.serve_emulated FILE`.

It knows which class to put in place of the service's replica, and nothing of what is asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch


def main() -> None:
    from benchmarks.simulation.emulated import EmulatedReplica
    from serve_app import app
    from serve_app.config import ServeConfig
    from serve_app.run import serve
    from sprint.config import validate

    path = Path(sys.argv[-1])
    with patch.object(app, "VLLMReplica", EmulatedReplica):
        serve(validate(ServeConfig, json.loads(path.read_text(encoding="utf-8")), str(path)))


if __name__ == "__main__":
    main()
