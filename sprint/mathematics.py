"""Whether two formulas are the same, asked of a process that can be killed.

Symbolic mathematics on hostile text can run for ever, in a thread beyond recall. So it runs in helper processes, which
end themselves when a comparison takes too long and are replaced. Safe in any thread and after a fork. It does not know
what an answer is, nor how formulas are compared (`mathematics_worker`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import lru_cache

from sprint.errors import SprintError
from sprint.mathematics_worker import READY

COMPARE_SECONDS = 3.0  # of processor time, so that a busy machine changes no grade
_MAX_HELPERS = 4
_CACHE_SIZE = 8192  # pairs of formulas; many samples of one problem give the same few answers


@lru_cache(maxsize=_CACHE_SIZE)
def same_formula(gold: str, given: str) -> bool | None:
    """Whether `given` says the same as `gold`; None where that could not be found out within COMPARE_SECONDS.

    Raises SprintError when math-verify cannot be run at all.
    """
    return _helpers.ask(gold, given)


class _Helper:
    """One process that compares formulas."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sprint.mathematics_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        if self._line() != READY:
            _, words = self.process.communicate()
            raise SprintError(f"math-verify could not be started: {words.strip()[-300:] or 'it ended at once'}")

    def ask(self, gold: str, given: str) -> bool | None:
        """The answer; None when the process died over it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([gold, given, COMPARE_SECONDS]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = self._line()
        return {"true": True, "false": False}.get(answer)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class _Helpers:
    """At most so many processes, started when needed, each asked one thing at a time."""

    def __init__(self, limit: int) -> None:
        self._idle: list[_Helper] = []
        self._free = threading.Semaphore(limit)

    def ask(self, gold: str, given: str) -> bool | None:
        with self._free:
            helper = self._take()
            answer: bool | None = None
            try:
                answer = helper.ask(gold, given)
            finally:
                # Also after an interruption: a helper whose answer was not read is of no more use.
                if answer is None:
                    helper.close()
                else:
                    self._idle.append(helper)
            return answer

    def _take(self) -> _Helper:
        while True:
            try:
                helper = self._idle.pop()  # atomic, like `append`: no lock is needed
            except IndexError:
                return _Helper()
            if helper.process.poll() is None:
                return helper
            helper.close()


_helpers = _Helpers(min(_MAX_HELPERS, os.cpu_count() or 1))


def _forget() -> None:
    """After a fork: the helpers and their pipes are the parent's."""
    global _helpers
    _helpers = _Helpers(min(_MAX_HELPERS, os.cpu_count() or 1))


os.register_at_fork(after_in_child=_forget)
