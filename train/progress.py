"""Follows a run's metrics file and says each line to a person. It does not know what trains.

Workers write to a file in the run's folder rather than to Ray's log, so that the driver can show nothing but progress.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


@contextmanager
def followed(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Says what rank 0 writes into the metrics file, as it is written."""
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(folder / METRICS, stop, say), daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def _follow(path: Path, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Report each new line once; steps repeated after a failure are reported again."""
    seen = whole_lines(path)
    while True:
        last_look = stop.wait(0.5)
        now = whole_lines(path)
        for line in now:
            if line not in seen:
                say(progress_line(line))
        seen = now
        if last_look:
            return


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file that are wholly written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def progress_line(line: dict[str, Any]) -> str:
    """A metrics line for a person: step, loss, speed and the time left."""
    step, steps = line["step"], line["steps"]
    minutes, seconds = divmod(round(line["seconds"] / step * (steps - step)), 60)
    speed = f"{line['tokens_per_s']:,.0f} tokens/s"
    return f"  step {step:>{len(str(steps))}}/{steps}  loss {line['loss']:.4f}  {speed}  {minutes}:{seconds:02d} left"
