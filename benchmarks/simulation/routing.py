"""Which replica a call goes to: the service's own rule, on what one planner's router knows of the replicas.

The rule is `serve_app.pools.affinity`, unchanged. What Ray Serve's router knows is modelled: it counts what it sends
and what comes back, hears a replica's own count when that takes a call, and after a while without either it takes the
replica for idle. It knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.simulation.clock import Clock
from serve_app.pools.affinity import Tally, Ticket, preferred, ranked

FORGET_S = 10.0  # Ray Serve's default for how long a queue length is believed


class KnownTicket(Ticket):
    """A ticket whose session's order of the replicas is looked up rather than made again for every call."""

    __slots__ = ("_order",)

    def __init__(self, session: str, tally: Tally, order: list[str]) -> None:
        super().__init__(session, "", tally)
        self._order = order

    def order(self, replicas: Iterable[str]) -> list[str]:
        return list(self._order)


class Router:
    """One planner's view of one pool.

    forgets  whether a count grows old (Ray Serve's does)
    """

    def __init__(self, clock: Clock, margin: int, capacity: int, forgets: bool = True) -> None:
        self.tally = Tally()
        self._clock, self._margin, self._capacity = clock, margin, capacity
        self._forget_s = FORGET_S if forgets else float("inf")
        self._known: dict[str, tuple[int, float]] = {}
        self._replicas: tuple[str, ...] = ()
        self._orders: dict[str, list[str]] = {}

    def update(self, replicas: Iterable[str]) -> None:
        """The replicas that there are now."""
        self._replicas = tuple(replicas)
        self._known = {name: self._known.get(name, (0, self._clock.now)) for name in self._replicas}
        self._orders.clear()

    def choose(self, session: str) -> str:
        """The replica for a call of `session`; the call is counted there."""
        order = self._orders.get(session)
        if order is None:
            order = self._orders[session] = ranked(session, self._replicas)
        ticket = KnownTicket(session, self.tally, order)
        chosen = preferred(ticket, self._loads(), self._margin, self._capacity)[0]
        ticket.routed(chosen, self._replicas)
        self._set(chosen, self._load(chosen) + 1)
        return chosen

    def taken(self, replica: str, ongoing: int) -> None:
        """The replica has taken a call and says how many it has."""
        if replica in self._known:
            self._set(replica, ongoing)

    def ended(self, replica: str) -> None:
        """A call has come back."""
        if replica in self._known:
            self._set(replica, max(0, self._load(replica) - 1))

    def forget(self, session: str) -> None:
        """The session is over."""
        self._orders.pop(session, None)

    def _loads(self) -> Mapping[str, int]:
        old = self._clock.now - self._forget_s
        return {name: count if seen >= old else 0 for name, (count, seen) in self._known.items()}

    def _load(self, replica: str) -> int:
        count, seen = self._known[replica]
        return count if self._clock.now - seen <= self._forget_s else 0

    def _set(self, replica: str, count: int) -> None:
        self._known[replica] = (count, self._clock.now)
