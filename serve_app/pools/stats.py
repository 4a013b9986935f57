"""The service in numbers, at one moment: plain records that any process can unpickle, and how they add up.

It knows neither Ray nor Prometheus. Gauges are what the engines say now; counters only grow while a process lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """One engine now. `kv_cache_use` is a share from 0 to 1, None where the engine does not say."""

    replica: str
    running: int
    waiting: int
    kv_cache_use: float | None = None


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """What became of the calls to a pool, since the process that counts began.

    calls          calls that reached a replica, attempts after a failure included
    affinity_hits  of those, calls that went where their request's prefix is
    spill_overs    of those, calls that went elsewhere because of load
    hedges         of those, calls that back up another one, and so went elsewhere on purpose
    retries        calls taken up again elsewhere after their replica failed
    lost           calls given up because no replica was left to take them
    cancelled      calls that the caller left before they had ended
    """

    calls: int = 0
    affinity_hits: int = 0
    spill_overs: int = 0
    hedges: int = 0
    retries: int = 0
    lost: int = 0
    cancelled: int = 0

    def __add__(self, other: RouteCounts) -> RouteCounts:
        return RouteCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One pool of engines. `replicas` are those that answered; a remote endpoint has none."""

    name: str
    replicas: tuple[ReplicaLoad, ...] = ()
    routes: RouteCounts = RouteCounts()
    remote: bool = False

    @property
    def running(self) -> int:
        """Calls being decoded."""
        return sum(replica.running for replica in self.replicas)

    @property
    def waiting(self) -> int:
        """Calls in the engines' queues."""
        return sum(replica.waiting for replica in self.replicas)

    @property
    def kv_cache_use(self) -> float | None:
        """Mean share of the KV cache in use, from 0 to 1; None where no engine says."""
        shares = [replica.kv_cache_use for replica in self.replicas if replica.kv_cache_use is not None]
        return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """All pools, and how many questions the planners are answering."""

    pools: tuple[PoolStats, ...] = ()
    rollouts: int = 0

    @property
    def running(self) -> int:
        """Calls being decoded, in all pools."""
        return sum(pool.running for pool in self.pools)

    @property
    def waiting(self) -> int:
        """Calls in the engines' queues, in all pools."""
        return sum(pool.waiting for pool in self.pools)


def merged(seen: Sequence[ServiceStats]) -> ServiceStats:
    """What several planners say of the same pools: engines are counted once, counters and questions add up."""
    pools: dict[str, PoolStats] = {}
    for pool in (pool for stats in seen for pool in stats.pools):
        before = pools.get(pool.name)
        pools[pool.name] = pool if before is None else _joined(before, pool)
    return ServiceStats(tuple(pools.values()), sum(stats.rollouts for stats in seen))


def _joined(one: PoolStats, other: PoolStats) -> PoolStats:
    replicas = {replica.replica: replica for replica in (*one.replicas, *other.replicas)}
    return replace(one, replicas=tuple(replicas.values()), routes=one.routes + other.routes)
