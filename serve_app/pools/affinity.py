"""Which replica a call goes to. Pure: loads and names in, an order of preference out.

Calls of one request share a prefix, so they go to one replica: each session has an order of all replicas of its own
(rendezvous hashing), which hardly changes when replicas come and go. Under load a call goes to the next in that order
that is not busier than the least busy by more than a margin, so that what is spilled over has one second home.
It knows neither Ray nor vLLM.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b

from serve_app.pools.stats import RouteCounts

_HEDGE = re.compile(r"~\d+\.\d+$")  # no request id has a tilde


def hedged_session(session: str) -> str | None:
    """The session whose execution `session` backs up (`<session>~<round>.<number>`); None: it backs up none."""
    return _HEDGE.sub("", session) if _HEDGE.search(session) else None


def ranked(session: str, replicas: Iterable[str]) -> list[str]:
    """All replicas in the order in which `session` prefers them. A hedge's first choice is its session's second."""
    base = hedged_session(session)
    if base is None:
        return sorted(replicas, key=lambda replica: _weight(session, replica))
    order = ranked(base, replicas)
    return order[1:] + order[:1]


def _weight(session: str, replica: str) -> bytes:
    return blake2b(f"{session}\0{replica}".encode(), digest_size=8).digest()


def preferred(ticket: Ticket, loads: Mapping[str, int], margin: int, capacity: int) -> list[str]:
    """The replicas that may take the call, best first; empty where all that there are have failed it.

    loads     calls that each replica has taken and not yet ended
    margin    how much busier than the least busy one a replica may be and still be preferred for its prefix
    capacity  calls that a replica takes at once
    """
    order = ticket.order(loads)
    if ticket.elsewhere in order and len(order) > 1:
        order.remove(ticket.elsewhere)
    limit = min([*(loads[replica] for replica in order), capacity]) + margin
    free = [replica for replica in order if loads[replica] <= limit and loads[replica] < capacity]
    return free + sorted((replica for replica in order if replica not in free), key=loads.__getitem__)


@dataclass(slots=True)
class Tally:
    """Counts of one pool, in one process. Each number is written by one thread only."""

    calls: int = 0
    affinity_hits: int = 0
    spill_overs: int = 0
    hedges: int = 0
    retries: int = 0
    lost: int = 0
    cancelled: int = 0
    seen_at: float = 0.0  # when there last was a replica that could be chosen, on the monotonic clock

    def counts(self) -> RouteCounts:
        """As a record that can travel."""
        return RouteCounts(*(getattr(self, each.name) for each in fields(RouteCounts)))


class Ticket:
    """Travels with a call to the router, which notes on it where the call went. Replicas get session and caller.

    caller     the name of who calls, see `callers`; empty: nobody knows
    elsewhere  the replica that a hedge must not go to, if there is another
    only       the one replica that the call is for; empty: any
    lost       replicas that failed this call, and do not get it again
    replica    where the call is; None: it has not reached a replica
    """

    __slots__ = ("_seen_at", "caller", "elsewhere", "lost", "only", "replica", "session", "tally")

    def __init__(
        self,
        session: str = "",
        caller: str = "",
        tally: Tally | None = None,
        elsewhere: str | None = None,
        only: str = "",
    ) -> None:
        self.caller = caller
        self.session = session or f"{random.getrandbits(64):016x}"  # without a session, any replica is as good
        self.tally = tally or Tally()
        self.elsewhere = elsewhere
        self.only = only
        self.lost: set[str] = set()
        self.replica: str | None = None
        self._seen_at = time.monotonic()

    def __reduce__(self) -> tuple[type[Ticket], tuple[str, str]]:
        return Ticket, (self.session, self.caller)

    def order(self, replicas: Iterable[str]) -> list[str]:
        """The replicas that may have the call, as its session prefers them."""
        return ranked(self.session, [replica for replica in replicas if replica not in self.lost])

    def seen(self) -> None:
        """There is a replica that can take the call."""
        self._seen_at = self.tally.seen_at = time.monotonic()

    def routed(self, replica: str, replicas: Iterable[str]) -> None:
        """The call has reached `replica`, one of `replicas`."""
        self.replica = replica
        self.tally.calls += 1
        if hedged_session(self.session) is not None:
            self.tally.hedges += 1
        elif replica == next(iter(self.order(replicas)), replica):
            self.tally.affinity_hits += 1
        else:
            self.tally.spill_overs += 1

    def again(self, *, elsewhere: bool = True) -> None:
        """The call is taken up again, elsewhere where its replica failed."""
        if self.replica is not None and elsewhere:
            self.lost.add(self.replica)
        self.replica = None
        self._seen_at = time.monotonic()

    def unserved_s(self) -> float:
        """Seconds for which there has been no replica that could take the call; 0 once one has it."""
        if self.replica is not None:
            return 0.0
        others = 0.0 if self.lost else self.tally.seen_at
        return time.monotonic() - max(self._seen_at, others)
