"""The served application as tests over real sockets need it: a model that follows a script, and the service's numbers.

Knows how it is started and the names of a few metrics; what is asked is the tests'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_metrics import summed
from benchmarks.service_script import ENGINE_ENVIRONMENT, MODEL, Asked, Stage, scripted_engine, stage
from benchmarks.structures import Structure
from sprint.steps import free_port

ROOT = Path(__file__).parents[2]
LAYERS, HIDDEN = 2, 64
Numbers = dict[str, float]


@dataclass(frozen=True)
class Served:
    """A service under way and the questions its model knows the answers to."""

    url: str
    staged: Stage

    def chat(self, asked: Asked, **values: Any) -> dict[str, Any]:
        """The body of a request for `asked`."""
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": asked.question}]}
        return body | {"temperature": 0, "sprint": {"mode": "parallel"}} | values

    async def numbers(self, client: httpx.AsyncClient) -> Numbers:
        """The service's metrics by name, summed over their labels."""
        return summed((await client.get(f"{self.url}/metrics")).text)


@contextmanager
def serving(folder: Path, structures: list[Structure], **options: Any) -> Iterator[Served]:
    """The application on a free port, with a small model that answers questions of these structures."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    os.environ.update(ENGINE_ENVIRONMENT | {"PYTHONPATH": paths})  # replicas import the project as it lies here
    folder.mkdir(parents=True, exist_ok=True)
    staged = stage(folder, structures, LAYERS, HIDDEN, seed=0)
    from serve_app.config import ServeConfig
    from serve_app.run import running

    config = {"name": MODEL, "context_tokens": staged.context_tokens, "engine": scripted_engine(staged)} | options
    with running(ServeConfig(model=folder, port=free_port(), **config)) as url:
        yield Served(url, staged)
