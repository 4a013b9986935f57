"""An event loop whose clock is a number: sleeping costs nothing, and what can never wake up is found at once.

It polls no file. It counts its own turns, so that a loop that never ends is an error and not a wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """The loop can make no more progress, or makes it without end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Advances its clock to the next timer whenever no task can run.

    turns      how often the loop has gone round since `begin`
    most_turns how often it may
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = 0
        self.most_turns = 1_000_000
        super().__init__(_NoFiles(self))

    def time(self) -> float:
        return self.now

    def begin(self, most_turns: int) -> None:
        self.turns, self.most_turns = 0, most_turns

    def waited(self, timeout: float | None) -> None:
        """Called where a real loop would wait for files."""
        self.turns += 1
        if timeout is None:
            raise Stuck("every task waits for something that will never happen")
        if self.turns > self.most_turns:
            raise Stuck(f"no end after {self.turns} turns of the loop")
        self.now += timeout

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The result of `main`. A loop that was stuck is not to be used again."""
        return self.run_until_complete(main)

    def left_over(self) -> list[asyncio.Task[Any]]:
        """Tasks that are still there when none should be."""
        return [task for task in asyncio.all_tasks(self) if not task.done()]


class _NoFiles(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.waited(timeout)
        return []
