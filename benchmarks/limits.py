"""What grows with the number of replicas: a router's choice, and what Ray Serve's controller does for each of them.

    python -m benchmarks.limits [--choices 1,10,100,1000] [--replicas 4,12] [--seconds 20] [--only choice|controller]

The choice is the service's own code, timed alone. The controller is a real one on a Ray of its own, with replicas that
do nothing, asked for their health as often as the service's are. CPU seconds throughout, so that a busy machine matters
little. Prints tables; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from serve_app.pools.affinity import Tally, Ticket, preferred

MARGIN, CAPACITY = 16, 4096


def choice_s(replicas: int, least_s: float = 0.2) -> float:
    """CPU seconds of one call's choice among so many replicas: to make it, and to book where the call went."""
    loads = {f"model-{number:08x}": number % 20 for number in range(replicas)}
    tally, calls, start = Tally(), 0, time.process_time()
    while time.process_time() - start < least_s:
        ticket = Ticket(f"request-{calls // 12}", "", tally)
        chosen = preferred(ticket, loads, MARGIN, CAPACITY)[0]
        ticket.routed(chosen, loads)
        calls += 1
    return (time.process_time() - start) / calls


def choices(counts: Sequence[int]) -> Table:
    table = Table("replicas", "CPU ms a call", "µs a replica", title="choosing a replica, in the planner's process")
    for count in counts:
        cost = choice_s(count)
        table.add_row(str(count), f"{cost * 1e3:.3f}", f"{cost / count * 1e6:.2f}")
    return table


# --- the controller --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """So many replicas, kept for a while: what that cost, as CPU seconds a second, and to bring them up."""

    replicas: int
    controller: float
    replica: float
    started_s: float
    broadcast_s: float


class Idle:
    """A replica that does nothing."""

    def load(self) -> int:
        """An answer."""
        return 0


def kept(counts: Sequence[int], seconds: float) -> Iterator[Kept]:
    """Replicas of a deployment with the service's health checks, more and more of them, on a Ray of its own."""
    import ray
    from ray import serve

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        for count in counts:
            yield _kept(count, seconds)
    finally:
        serve.shutdown()
        ray.shutdown()


def _kept(count: int, seconds: float) -> Kept:
    import psutil
    from ray import serve

    from serve_app.app import HEALTH_S

    scaling = {"min_replicas": count, "max_replicas": count}
    made: Any = serve.deployment(Idle, autoscaling_config=scaling, health_check_period_s=HEALTH_S)
    began = time.monotonic()
    handle = serve.run(made.options(ray_actor_options={"num_cpus": 0}).bind(), name="idle", route_prefix=None)
    started_s = time.monotonic() - began
    processes = [each for each in psutil.Process().children(recursive=True) if "ray::" in " ".join(each.cmdline())]
    groups = [[p for p in processes if part in p.cmdline()[0]] for part in ("ServeController", "ServeReplica")]
    before = [sum(map(_cpu_s, group)) for group in groups]
    time.sleep(seconds)
    used = [sum(map(_cpu_s, group)) - was for group, was in zip(groups, before, strict=True)]
    return Kept(count, used[0] / seconds, used[1] / seconds / count, started_s, _broadcast_s(handle))


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _broadcast_s(handle: Any, times: int = 10) -> float:
    """CPU seconds of this process for asking all replicas one thing."""
    handle.broadcast("load").results(timeout_s=60)
    start = time.process_time()
    for _ in range(times):
        handle.broadcast("load").results(timeout_s=60)
    return (time.process_time() - start) / times


def controllers(counts: Sequence[int], seconds: float) -> Table:
    table = Table(
        "replicas", "controller's CPU, share of a core", "a replica's own", "started in, s", "asking all, CPU ms",
        title=f"Ray Serve's controller, nothing asked, {seconds:.0f} s each",
    )  # fmt: skip
    for each in kept(counts, seconds):
        shares = (f"{each.controller:.1%}", f"{each.replica:.2%}")
        table.add_row(str(each.replicas), *shares, f"{each.started_s:.1f}", f"{each.broadcast_s * 1e3:.1f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choices", default="1,10,100,1000")
    parser.add_argument("--replicas", default="4,12")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=("choice", "controller"))
    args = parser.parse_args()
    console = Console(width=140)
    if args.only != "controller":
        console.print(choices(list(map(int, args.choices.split(",")))))
    if args.only != "choice":
        console.print(controllers(list(map(int, args.replicas.split(","))), args.seconds))
    console.print(f"load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
