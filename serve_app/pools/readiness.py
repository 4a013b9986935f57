"""What state the model behind the service is in, in words a person can act on.

Plain records that any process can unpickle, and the judgement over what was seen of each pool. It knows neither Ray nor
HTTP: what is seen, `watching` sees; what is answered, the ingress answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from serve_app.pools.root_cause import cause


class ReadinessState(StrEnum):
    """From best to worst."""

    READY = "ready"
    DEGRADED = "degraded"  # it answers, but some replicas do not
    STARTING = "starting"  # nothing has failed, and nothing answers yet
    STOPPING = "stopping"  # it was asked to stop: questions inside are finished, new ones refused
    FAILED = "failed"  # nothing answers, and it is known why


_ORDER = tuple(ReadinessState)
_LOADING = "no replica answers yet, the model is being loaded"
_SLOW = re.compile(r"taken more than \d+s to (initialize|be scheduled)")
_NEEDS = re.compile(r"Resources required for each replica: (\{[^}]*\})")


@dataclass(frozen=True, slots=True)
class PoolReadiness:
    """One pool: `replicas` is how many of its replicas answered, `wanted` how many there should be."""

    name: str
    state: ReadinessState
    reason: str = ""
    replicas: int = 0
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class Readiness:
    """The whole service: as good as its worst pool. `reason` is one sentence, empty when there is nothing to say."""

    state: ReadinessState
    reason: str = ""
    pools: tuple[PoolReadiness, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered (HTTP 200 on /ready, else 503)."""
        return self.state in (ReadinessState.READY, ReadinessState.DEGRADED)


def overall(pools: Sequence[PoolReadiness]) -> Readiness:
    """The service's readiness from that of its pools."""
    worst = max((pool.state for pool in pools), key=_ORDER.index, default=ReadinessState.READY)
    reasons = [f"{pool.name}: {pool.reason}" for pool in pools if pool.state is worst and pool.reason]
    return Readiness(worst, "; ".join(reasons), tuple(pools))


def judged(name: str, answering: int, wanted: int, trouble: str = "", *, given_up: bool = False) -> PoolReadiness:
    """One pool, from what was seen of it.

    answering  replicas that answered in time
    wanted     replicas there should be
    trouble    what the controller says about those that could not start or are ill; empty: nothing
    given_up   whether the controller has stopped trying
    """
    if slow := _SLOW.search(trouble):  # Ray Serve's words after half a minute: nothing has failed
        needs = _NEEDS.search(trouble)
        waits = f"no node has room for a replica, which needs {needs[1]}" if needs and slow[1] != "initialize" else ""
        trouble = ""
        if not answering:
            return PoolReadiness(name, ReadinessState.STARTING, waits or _LOADING, 0, wanted)
    why = cause(trouble) if trouble else ""
    if answering:
        state = ReadinessState.READY if answering >= wanted and not why else ReadinessState.DEGRADED
        reason = "" if state is ReadinessState.READY else f"{answering} of {wanted} replicas answer"
        return PoolReadiness(name, state, ": ".join(filter(None, [reason, why])), answering, wanted)
    if why or given_up:
        end = "" if given_up else " (it is being tried again)"
        return PoolReadiness(name, ReadinessState.FAILED, (why or "it could not be started") + end, 0, wanted)
    return PoolReadiness(name, ReadinessState.STARTING, _LOADING, 0, wanted)
