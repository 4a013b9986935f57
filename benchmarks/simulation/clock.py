"""Virtual time: what happens when, cores that jobs share, and processes that do one thing after the other.

It knows nothing of the service. A host with enough cores is one where every job takes as long as its work.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count

Do = Callable[[], None]
_SLACK = 1e-9


class Alarm:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("do",)

    def __init__(self, do: Do) -> None:
        self.do: Do | None = do

    def cancel(self) -> None:
        self.do = None


class Clock:
    """The order of events. `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Alarm]] = []
        self._numbers = count()

    def after(self, delay_s: float, do: Do) -> Alarm:
        alarm = Alarm(do)
        heapq.heappush(self._events, (self.now + max(0.0, delay_s), next(self._numbers), alarm))
        return alarm

    def run(self, until_s: float = math.inf, stop: Callable[[], bool] = lambda: False) -> None:
        """Lets things happen until nothing is left, `until_s` has come, or `stop` says so."""
        while self._events and not stop():
            if self._events[0][0] > until_s:
                self.now = until_s
                return
            when, _, alarm = heapq.heappop(self._events)
            if alarm.do is not None:
                self.now = when
                alarm.do()


class Job:
    """Work on a host. `ends` is on the host's own time, which runs slower than the clock when cores are short."""

    __slots__ = ("alarm", "began", "done", "ends", "live")

    def __init__(self, began: float, ends: float, done: Do) -> None:
        self.began, self.ends, self.done = began, ends, done
        self.live = True
        self.alarm: Alarm | None = None


class Host:
    """Cores that all running jobs share equally, a job using one core at most.

    cores   how many there are; infinite: no job is ever slowed down
    others  cores' worth of work that somebody else keeps them busy with, as a load average says
    """

    def __init__(self, clock: Clock, cores: float = math.inf, others: float = 0.0) -> None:
        self._clock, self._cores, self._others = clock, cores, others
        self._time, self._seen = 0.0, 0.0  # the host's own time, and when that was on the clock
        self._jobs: list[tuple[float, int, Job]] = []
        self._live = 0
        self._numbers = count()
        self._next: Alarm | None = None

    def start(self, work_s: float, done: Do) -> Job:
        """Begins a job that takes `work_s` of a core, and tells when it is done."""
        if math.isinf(self._cores):
            job = Job(self._clock.now, self._clock.now + work_s, done)
            job.alarm = self._clock.after(work_s, done)
            return job
        self._catch_up()
        job = Job(self._time, self._time + work_s, done)
        heapq.heappush(self._jobs, (job.ends, next(self._numbers), job))
        self._live += 1
        self._plan()
        return job

    def stop(self, job: Job) -> float:
        """Gives a job up; the work that it had done."""
        if job.alarm is not None:
            job.alarm.cancel()
            return self._clock.now - job.began
        self._catch_up()
        if job.live:
            job.live = False
            self._live -= 1
            self._plan()
        return self._time - job.began

    def _rate(self) -> float:
        busy = self._live + self._others
        return min(1.0, self._cores / busy) if busy else 1.0

    def _catch_up(self) -> None:
        self._time += (self._clock.now - self._seen) * self._rate()
        self._seen = self._clock.now

    def _plan(self) -> None:
        if self._next is not None:
            self._next.cancel()
        while self._jobs and not self._jobs[0][2].live:
            heapq.heappop(self._jobs)
        if self._jobs:
            self._next = self._clock.after((self._jobs[0][0] - self._time) / self._rate(), self._ended)

    def _ended(self) -> None:
        self._catch_up()
        over: list[Job] = []
        while self._jobs and (not self._jobs[0][2].live or self._jobs[0][0] <= self._time + _SLACK):
            job = heapq.heappop(self._jobs)[2]
            if job.live:
                job.live = False
                self._live -= 1
                over.append(job)
        self._plan()
        for job in over:
            job.done()


class Process:
    """A process with one thread: what it is given waits for what it was given before. `used_s`: core seconds so far."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: deque[tuple[float, Do]] = deque()
        self._busy = False
        self.used_s = 0.0

    def do(self, work_s: float, then: Do) -> None:
        """Works for `work_s`, then does `then`. No work at all takes no turn in an idle process."""
        if work_s <= 0 and not self._busy:
            then()
            return
        self._waiting.append((work_s, then))
        if not self._busy:
            self._turn()

    def _turn(self) -> None:
        self._busy = bool(self._waiting)
        if self._waiting:
            work_s, then = self._waiting.popleft()
            self.used_s += work_s

            def over() -> None:
                then()
                self._turn()

            self._host.start(work_s, over)
