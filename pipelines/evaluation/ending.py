"""How a batch ends before its time: a flag that its workers look at, and failures that travel as rows.

Ray wraps what a worker raises, and loses what its pickle cannot hold; a row keeps the one sentence, and with it the
answers that came beside the failure. It knows neither problems nor engines.
"""

from __future__ import annotations

import json
from typing import Any

from sprint import errors
from sprint.errors import SprintError


class Flag:
    """Once it is raised, workers begin nothing new. An actor (`open_flag`), so that those of all nodes see it."""

    def __init__(self) -> None:
        self._is_raised = False

    def set(self) -> None:
        self._is_raised = True

    def is_raised(self) -> bool:
        return self._is_raised


def open_flag() -> Any:
    """A flag on the driver's own node, so that it is not lost without the driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Flag).options(scheduling_strategy=here).remote()


def failure_text(failure: SprintError) -> str:
    """An error of this project as it travels."""
    return json.dumps({"kind": type(failure).__name__, "message": str(failure)})


def failure_of(text: str) -> SprintError:
    """The inverse of `failure_text`; an error of a kind that `sprint.errors` does not know is a plain SprintError."""
    values = json.loads(text)
    kind = getattr(errors, values["kind"], SprintError)
    error: SprintError = kind(values["message"])
    return error
