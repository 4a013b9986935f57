"""How many requests are in the house, whose turn it is, and who is turned away.

A request enters (or is refused at once), is read, waits for its turn where all places to work are taken, and leaves.
Waiting requests are served client by client, one each, and a client that fills the house does not lock others out:
where it is full, the youngest waiting request of whoever waits with most makes room for somebody who waits with fewer.

It knows clients by name and nothing of HTTP. One event loop; what is kept is bounded by the two limits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import Self

from serve_app.api.failures import Overloaded


class Admission:
    """The house.

    max_requests   requests that are worked on at once
    max_queued     requests beyond those that are in the house: being read, or waiting for their turn
    retry_after_s  what those who are refused are told
    """

    def __init__(self, max_requests: int, max_queued: int, retry_after_s: int = 1) -> None:
        self.max_requests = max_requests
        self.max_queued = max_queued
        self.retry_after_s = retry_after_s
        self.inside = self.running = 0
        self._waiting: dict[str, deque[Place]] = {}  # the client at the front is served next

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(places) for places in self._waiting.values())

    def enter(self, client: str) -> Place:
        """A place in the house, to be used as a context. Raises Overloaded when there is none."""
        if self.inside >= self.max_requests + self.max_queued:
            self._make_room(client)
        self.inside += 1
        return Place(self, client)

    def _make_room(self, client: str) -> None:
        greediest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=client)
        if len(self._waiting.get(greediest, ())) <= len(self._waiting.get(client, ())) + 1:
            raise self._refusal()
        youngest = self._waiting[greediest][-1]
        youngest.leave()
        youngest.turn_away(self._refusal())

    def _refusal(self) -> Overloaded:
        return Overloaded(
            f"the server works on {self.running} requests and holds {self.inside - self.running} more, which is all"
            f" it takes; try again in {self.retry_after_s} s",
            retry_after_s=self.retry_after_s,
        )

    # --- for the places ----------------------------------------------------------------------------------------------

    def _join(self, place: Place) -> None:
        self._waiting.setdefault(place.client, deque()).append(place)

    def _withdraw(self, place: Place) -> None:
        places = self._waiting[place.client]
        places.remove(place)
        if not places:
            del self._waiting[place.client]

    def _call_next(self) -> None:
        """Calls the first client's oldest request; the client goes to the end of the row."""
        while self._waiting and self.running < self.max_requests:
            client = next(iter(self._waiting))
            places = self._waiting.pop(client)
            place = places.popleft()
            if places:
                self._waiting[client] = places
            place.call()


class Place:
    """One request's place, from the door until it leaves. `works`: its turn has come, after `waited_s` seconds."""

    def __init__(self, house: Admission, client: str) -> None:
        self.client = client
        self.waited_s = 0.0
        self._house = house
        self._called: asyncio.Future[None] | None = None
        self.works = self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def turn(self) -> None:
        """Waits for this request's turn. Raises Overloaded when it has to make room for another client's."""
        began = time.monotonic()
        self._called = asyncio.get_running_loop().create_future()
        self._house._join(self)
        self._house._call_next()
        try:
            await self._called
        finally:
            self.waited_s = time.monotonic() - began

    def call(self) -> None:
        """It is this request's turn."""
        assert self._called is not None, "called before it waits"
        self.works = True
        self._house.running += 1
        if not self._called.done():  # else its task was cancelled and is about to leave
            self._called.set_result(None)

    def turn_away(self, why: Overloaded) -> None:
        """Its turn will not come."""
        if self._called is not None and not self._called.done():
            self._called.set_exception(why)

    def leave(self) -> None:
        """Gives the place back; once is enough."""
        if self._left:
            return
        self._left = True
        self._house.inside -= 1
        if self.works:
            self._house.running -= 1
        elif self._called is not None:
            self._house._withdraw(self)
        self._house._call_next()
