"""A script that follows a given trajectory: the planner's turns and the executions, as they were taught."""

from __future__ import annotations

import re

from sprint.render import execution_text, trajectory_text
from sprint.scripted import Script
from sprint.tags import THINK_OPEN
from sprint.types import Trajectory

_EXECUTOR = re.compile(r"\n<execution_(\d+)\.(\d+)>\n\Z")


def follow(trajectory: Trajectory) -> Script:
    """Says what the trajectory says next. Fails if the context is not a beginning of it."""
    whole = trajectory_text(trajectory).removeprefix(THINK_OPEN)

    def script(prompt: str) -> str:
        written = prompt.split(THINK_OPEN, 1)[1]
        executor = _EXECUTOR.search(written)
        if executor:
            round, number = int(executor[1]), int(executor[2])
            assert whole.startswith(written[: executor.start()]), "an executor that sees more than its prefix"
            return execution_text(round, number, trajectory.rounds[round - 1].executions[number - 1].text)
        assert whole.startswith(written), "the context is not what was taught"
        return whole[len(written) :]

    return script
