"""Tasks with an endless supply of problems, a teacher and an exact grader. `get_task` finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from sprint.errors import InputError
from sprint.tasks.base import Grade, Options, Problem, Split, Task, eval_rows, majority_answer, split_of
from sprint.tasks.chains import Chains, ChainsOptions
from sprint.tasks.countdown import Countdown, CountdownOptions

__all__ = ["Grade", "Problem", "Split", "Task", "eval_rows", "get_task", "majority_answer", "split_of", "task_names"]

_OPTIONS: dict[str, type[Options]] = {Chains.name: ChainsOptions, Countdown.name: CountdownOptions}
_TASKS: dict[str, Callable[[Any], Task]] = {Chains.name: Chains, Countdown.name: Countdown}


def task_names() -> tuple[str, ...]:
    """The names `get_task` knows."""
    return tuple(sorted(_TASKS))


def get_task(name: str, **options: Any) -> Task:
    """The task of that name. Raises InputError for an unknown name, an unknown option or a value out of bounds."""
    if name not in _TASKS:
        raise InputError(f"unknown task {name!r}, expected one of: {', '.join(task_names())}", field="task")
    known = sorted(option.name for option in fields(_OPTIONS[name]))  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            message = f"task {name!r} has no option {option!r}, expected one of: {', '.join(known)}"
            raise InputError(message, field=option)
    return _TASKS[name](_OPTIONS[name](**options))
