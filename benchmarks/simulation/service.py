"""The service as processes and queues: ingress, planners with their routers, pools of replicas that grow and shrink.

It knows how a request passes through them and what that costs on which process. What is asked, and when, is the
workload's; what comes of it is `results`'.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from benchmarks.simulation.clock import Clock, Host, Process
from benchmarks.simulation.engine import Call, Engine, StepTimes
from benchmarks.simulation.options import ServiceOptions
from benchmarks.simulation.rollout import Rollout
from benchmarks.simulation.routing import Router
from benchmarks.simulation.scaling import DECIDE_S, PUSH_S, RECORD_S, Scaler
from benchmarks.structures import Structure

LOOK_S = 1.0


@dataclass(slots=True)
class Asked:
    """A question and what became of it."""

    structure: Structure
    began_s: float
    end_s: float = math.nan
    refused: bool = False
    calls: int = 0


@dataclass(slots=True)
class Replica:
    """One replica: the process that takes calls and sends tokens, and its engine."""

    name: str
    process: Process
    engine: Engine
    ongoing: int = 0


@dataclass
class Pool:
    """Replicas with one model, and each planner's router to them."""

    name: str
    times: StepTimes
    routers: list[Router]
    replicas: dict[str, Replica] = field(default_factory=dict)
    gone: list[Replica] = field(default_factory=list)
    ongoing: int = 0


class Service:
    """See the module. `ask` is all that clients do."""

    def __init__(self, clock: Clock, options: ServiceOptions) -> None:
        self.clock, self.options = clock, options
        self._host = Host(clock, options.cores, options.others)
        self._engines = self._host if options.engines_on_cores else Host(clock)
        self.ingresses = [Process(self._host) for _ in range(options.num_ingresses)]
        self.planners = [Process(self._host) for _ in range(options.num_planners)]
        self.pools = [self._pool("model", options.replicas, options.times)]
        if options.executor is not None:
            self.pools.append(self._pool("executor", *options.executor))
        self.working = 0
        self.grown: list[tuple[float, int]] = [(0.0, options.replicas)]
        self.seen: list[tuple[int, int]] = []  # calls waiting in engines' queues and running, second by second
        self._queue: deque[tuple[Asked, Callable[[], None]]] = deque()
        self._numbers = count()
        self._names = count()
        clock.after(LOOK_S, self._look)
        if options.scaling is not None:
            self._scaler = Scaler(options.scaling, options.replicas)
            self._starting = 0
            clock.after(RECORD_S, self._record)
            clock.after(PUSH_S, self._push)
            clock.after(DECIDE_S, self._decide)

    def _look(self) -> None:
        engines = [replica.engine for pool in self.pools for replica in pool.replicas.values()]
        self.seen.append((sum(engine.waiting for engine in engines), sum(engine.running for engine in engines)))
        self.clock.after(LOOK_S, self._look)

    # --- requests ----------------------------------------------------------------------------------------------------

    def ask(self, structure: Structure, ended: Callable[[], None]) -> Asked:
        """A question comes in. `ended` is told when it has been answered or refused."""
        asked = Asked(structure, self.clock.now)
        if self.working < self.options.max_requests:
            self._work(asked, ended)
        elif len(self._queue) < self.options.max_queued:
            self._queue.append((asked, ended))
        else:
            asked.refused, asked.end_s = True, self.clock.now
            self.clock.after(0.0, ended)
        return asked

    def _work(self, asked: Asked, ended: Callable[[], None]) -> None:
        number = next(self._numbers)
        self.working += 1
        door, planner = number % len(self.ingresses), number % len(self.planners)
        session, age, costs = f"request-{number}", float(int(self.clock.now / 0.1)), self.options.costs

        def ask(call: Call, executor: bool) -> None:
            self._call(planner, self.pools[-1 if executor else 0], call)

        def answered() -> None:
            asked.end_s, asked.calls = self.clock.now, rollout.calls
            self._answered(session, planner, ended)

        rollout = Rollout(asked.structure, session, age, self.options.words, ask, answered)
        begin = rollout.begin
        self.ingresses[door].do(costs.ingress_s, lambda: self.planners[planner].do(costs.question_s, begin))

    def _answered(self, session: str, planner: int, ended: Callable[[], None]) -> None:
        self.working -= 1
        for pool in self.pools:
            pool.routers[planner].forget(session)
        if self._queue:
            self._work(*self._queue.popleft())
        ended()

    def _call(self, planner: int, pool: Pool, call: Call) -> None:
        """On its way: the planner chooses a replica, the replica takes it, and what it says comes back."""
        costs, router, told = self.options.costs, pool.routers[planner], call.told
        pool.ongoing += 1

        def choose() -> None:
            replica = pool.replicas[router.choose(call.session)]
            call.told = lambda tokens: self._said(planner, pool, replica, call, told, tokens)
            replica.process.do(costs.taken_s, lambda: take(replica))

        def take(replica: Replica) -> None:
            replica.ongoing += 1
            router.taken(replica.name, replica.ongoing)
            replica.engine.submit(call)

        self.planners[planner].do(costs.call_s + costs.choice_s * len(pool.replicas), choose)

    def _said(
        self, planner: int, pool: Pool, replica: Replica, call: Call, told: Callable[[int], None], tokens: int
    ) -> None:
        costs, last = self.options.costs, tokens == call.says
        before = max((mark for mark in call.marks if mark < tokens), default=0)

        def heard() -> None:
            if last:
                pool.ongoing -= 1
                pool.routers[planner].ended(replica.name)
            told(tokens)

        def sent() -> None:
            if last:
                replica.ongoing -= 1
            self.planners[planner].do(costs.message_s, heard)

        replica.process.do(costs.said_s + costs.token_s * (tokens - before), sent)

    # --- replicas ----------------------------------------------------------------------------------------------------

    def _pool(self, name: str, replicas: int, times: StepTimes) -> Pool:
        options = self.options
        routers = [Router(self.clock, options.margin, options.max_ongoing) for _ in range(options.num_planners)]
        pool = Pool(name, times, routers)
        for number in range(replicas):
            self._add(pool, f"{name}-{number}")
        self._tell(pool)
        return pool

    def _add(self, pool: Pool, name: str) -> None:
        engine = Engine(self._engines, pool.times, self.options.engine)
        pool.replicas[name] = Replica(name, Process(self._host), engine)

    def _tell(self, pool: Pool) -> None:
        for router in pool.routers:
            router.update(pool.replicas)

    def _record(self) -> None:
        self._scaler.record(self.clock.now, self.pools[0].ongoing)
        self.clock.after(RECORD_S, self._record)

    def _push(self) -> None:
        self._scaler.push()
        self.clock.after(PUSH_S, self._push)

    def _decide(self) -> None:
        pool = self.pools[0]
        target = self._scaler.decide(self.clock.now, len(pool.replicas))
        for _ in range(target - len(pool.replicas) - self._starting):
            self._starting += 1
            self.clock.after(self._scaler.options.start_s, self._started)
        if target < len(pool.replicas):  # those that have most to do stay; what one has begun it ends
            idle = sorted(pool.replicas.values(), key=lambda replica: replica.ongoing)
            for replica in idle[: len(pool.replicas) - target]:
                pool.gone.append(pool.replicas.pop(replica.name))
            self._resized(pool)
        self.clock.after(DECIDE_S, self._decide)

    def _started(self) -> None:
        self._starting -= 1
        self._add(self.pools[0], f"model+{next(self._names)}")
        self._resized(self.pools[0])

    def _resized(self, pool: Pool) -> None:
        self._tell(pool)
        self.grown.append((self.clock.now, len(pool.replicas)))
