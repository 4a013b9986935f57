"""How many requests are in the house, whose turn it is, and who is turned away.

A request enters (or is refused at once), is read, waits for its turn where all places to work are taken, and leaves.
Waiting requests are served client by client, one each, and a client that fills the house does not lock others out:
where it is full, whoever holds most places that do not work, being read or waiting, gives the youngest of them to
somebody who holds fewer.

It knows clients by name and nothing of HTTP. One event loop; what is kept is bounded by the two limits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from serve_app.api.failures import Overloaded
from serve_app.api.streams import ended

T = TypeVar("T")


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
        self._idle: dict[str, list[Place]] = {}  # those that do not work, being read or waiting, oldest first
        self._waiting: dict[str, deque[Place]] = {}  # the client at the front is served next

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(places) for places in self._waiting.values())

    def enter(self, client: str) -> Place:
        """A place in the house, to be used as a context. Raises Overloaded when there is none. Needs a running loop."""
        if self.inside >= self.max_requests + self.max_queued:
            self._make_room(client)
        self.inside += 1
        place = Place(self, client)
        self._idle.setdefault(client, []).append(place)
        return place

    def _make_room(self, client: str) -> None:
        greediest = max(self._idle, key=lambda name: len(self._idle[name]), default=client)
        if len(self._idle.get(greediest, ())) <= len(self._idle.get(client, ())) + 1:
            raise self._refusal()
        self._idle[greediest][-1].turn_away(self._refusal())

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
        """It does not work, and leaves."""
        _take_out(self._idle, place)
        if place in self._waiting.get(place.client, ()):
            _take_out(self._waiting, place)

    def _call_next(self) -> None:
        """Calls the first client's oldest request; the client goes to the end of the row."""
        while self._waiting and self.running < self.max_requests:
            client = next(iter(self._waiting))
            places = self._waiting.pop(client)
            place = places.popleft()
            if places:
                self._waiting[client] = places
            _take_out(self._idle, place)
            place.call()


def _take_out(places: dict[str, list[Place]] | dict[str, deque[Place]], place: Place) -> None:
    places[place.client].remove(place)
    if not places[place.client]:
        del places[place.client]


class Place:
    """One request's place, from the door until it leaves. `works`: its turn has come, after `waited_s` seconds."""

    def __init__(self, house: Admission, client: str) -> None:
        self.client = client
        self.waited_s = 0.0
        self._house = house
        # None: it is called. A result and no exception, which would be reported where a client left unheard.
        self._verdict: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()
        self.works = self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def before(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of what is done before this request's turn, such as reading it.

        Raises what the work raises; Overloaded, the work being given up, when the place goes to another client's.
        """
        working = asyncio.create_task(work)
        either: set[asyncio.Future[Any]] = {working, self._verdict}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._verdict.done():
                await self._heard()
            return await working
        finally:
            await ended([working])

    async def turn(self) -> None:
        """Waits for this request's turn. Raises Overloaded when it has to make room for another client's."""
        began = time.monotonic()
        if not self._left:
            self._house._join(self)
            self._house._call_next()
        try:
            await self._heard()
        finally:
            self.waited_s = time.monotonic() - began

    async def _heard(self) -> None:
        refusal = await self._verdict
        if refusal is not None:
            raise refusal

    def call(self) -> None:
        """It is this request's turn."""
        self.works = True
        self._house.running += 1
        self._decide(None)

    def turn_away(self, why: Overloaded) -> None:
        """Its turn will not come: it leaves."""
        self.leave()
        self._decide(why)

    def _decide(self, verdict: Overloaded | None) -> None:
        if not self._verdict.done():  # else its task was cancelled and is about to leave
            self._verdict.set_result(verdict)

    def leave(self) -> None:
        """Gives the place back; once is enough."""
        if self._left:
            return
        self._left = True
        self._house.inside -= 1
        if self.works:
            self._house.running -= 1
        else:
            self._house._withdraw(self)
        self._house._call_next()
