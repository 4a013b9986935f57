"""What was measured of the service's processes, in core seconds: the defaults of predictions.

    python -m benchmarks.simulation_check      prints what a call and a message cost planner and replica
    python -m benchmarks.limits                prints what a choice among replicas costs

On 2026-11-24, on two cores that other programs kept busy, which costs caches: planner and replica together used 18 ms
for a call of 24 tokens, and 10 ms on another day with nothing beside them (README). So these are on the safe side.
"""

from __future__ import annotations

from benchmarks.simulation.options import Costs

COSTS = Costs(
    ingress_s=0.046,  # the door and Ray Serve's proxy
    call_s=0.0048,
    choice_s=2.2e-6,
    message_s=0.0019,
    taken_s=0.0042,
    said_s=0.0017,
)

# CPU seconds of one choice, booked, by the number of replicas to choose from.
CHOICE = {1: 7e-6, 10: 20e-6, 100: 222e-6, 1000: 7.52e-3}
