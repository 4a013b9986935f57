"""What a simulated service is configured with: engines, replicas, planners, what its processes cost. No behaviour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from benchmarks.simulation.engine import EngineOptions, StepTimes
from benchmarks.simulation.rollout import Words
from benchmarks.simulation.scaling import ScalingOptions


@dataclass(frozen=True, slots=True)
class Costs:
    """Core seconds. The defaults were measured: see deploy/capacity.md.

    ingress_s     of the door, for a request
    question_s    of the planner, for a request
    call_s        of the planner, for a call, without what choosing among replicas adds
    choice_s      of the planner, for a call and a replica to choose from
    message_s     of the planner, for a message from a replica
    taken_s       of the replica's own process, for a call
    said_s        of the replica's own process, for a message
    token_s       of the replica's own process, for a token sampled
    """

    ingress_s: float = 0.0
    question_s: float = 0.0
    call_s: float = 0.0
    choice_s: float = 0.0
    message_s: float = 0.0
    taken_s: float = 0.0
    said_s: float = 0.0
    token_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """A service. The executors' pool is the planner's where `executor` is None.

    cores, others     of the host that everything but the engines runs on; infinite: nobody waits for a core
    engines_on_cores  whether the engines' steps take those cores too, as on a CPU
    """

    times: StepTimes
    engine: EngineOptions = field(default_factory=EngineOptions)
    costs: Costs = field(default_factory=Costs)
    words: Words = field(default_factory=Words)
    replicas: int = 1
    scaling: ScalingOptions | None = None
    executor: tuple[int, StepTimes] | None = None
    num_planners: int = 1
    num_ingresses: int = 1
    margin: int = 16
    max_ongoing: int = 4096
    max_requests: float = math.inf
    max_queued: float = math.inf
    cores: float = math.inf
    others: float = 0.0
    engines_on_cores: bool = False
