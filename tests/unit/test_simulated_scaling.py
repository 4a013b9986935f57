"""How a simulated service grows: by Ray Serve's own rule, and back again."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.engine import EngineOptions, StepTimes
from benchmarks.simulation.options import ServiceOptions
from benchmarks.simulation.scaling import Scaler, ScalingOptions
from benchmarks.simulation.workload import arriving
from benchmarks.structures import draw, scaled

TIMES = StepTimes(0.02, 0.001, 0.0001, 1e-8)
SHORT = [scaled(structure, 0.1) for structure in draw(24, 3)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 400)), min_size=1, max_size=30))
def test_the_number_of_replicas_is_what_ray_serves_own_rule_makes_it(seen: list[tuple[int, int]]) -> None:
    from ray.serve import autoscaling_policy as theirs
    from ray.serve.config import AutoscalingConfig

    own = ScalingOptions(1, 12, 16, upscale_delay_s=10, downscale_delay_s=40)
    config = AutoscalingConfig(
        min_replicas=1, max_replicas=12, target_ongoing_requests=16, upscale_delay_s=10, downscale_delay_s=40
    )
    scaler, target, state, now = Scaler(own, 3), 3, dict[str, object](), 0.0
    for wait_s, calls in seen:
        now += wait_s
        running = target
        wanted = theirs._apply_scaling_factors(calls / 16, running, config)
        target, state = theirs._apply_delay_logic(max(0, wanted), target, config, state, _now=now)
        target = max(1, min(12, target))
        scaler._seen = calls
        assert scaler.decide(now, running) == target


def test_replicas_are_added_under_load_and_taken_away_after_it() -> None:
    scaling = ScalingOptions(1, 6, 8, upscale_delay_s=5, downscale_delay_s=20, start_s=10)
    options = ServiceOptions(TIMES, EngineOptions(8), replicas=1, scaling=scaling)
    service, asked = arriving(options, [*SHORT, SHORT[0]], [0.1 * n for n in range(len(SHORT))] + [200.0])
    numbers = [number for _, number in service.grown]
    assert max(numbers) > 2
    assert numbers[-1] == 1
    assert not any(math.isnan(each.end_s) for each in asked)
