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
        more = now[len(seen) :] if now[: len(seen)] == seen else [line for line in now if line not in seen]
        for line in more:
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
    """A metrics line for a person: step, losses, speed and the time left."""
    step, steps = line["step"], line["steps"]
    minutes, seconds = divmod(round(line["seconds"] / step * (steps - step)), 60)
    loss = f"loss {line['loss']:.4f}{_named(line.get('losses', {}))}"
    if "validation" in line:
        loss += f"  validation {line['validation']['loss']:.4f}"
    if "check" in line:
        check = line["check"]
        loss += f"  format {check['format']:.0%}, right {check['accuracy']:.0%}"
    speed = f"{line['tokens_per_s']:,.0f} tokens/s"
    return f"  step {step:>{len(str(steps))}}/{steps}  {loss}  {speed}  {minutes}:{seconds:02d} left"


def _named(losses: dict[str, float]) -> str:
    """Losses by kind of token, where there are several."""
    return f" ({', '.join(f'{name} {loss:.3f}' for name, loss in losses.items())})" if len(losses) > 1 else ""
