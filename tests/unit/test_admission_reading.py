"""Requests that are still being read: they hold a place, and are the first to give it to others."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.api.admission import Admission
from serve_app.api.failures import Overloaded
from tests.unit.guests import Guest, running, settled


def test_a_client_that_is_slow_to_say_what_it_wants_makes_room_for_others() -> None:
    async def test() -> None:
        house, order = Admission(2, 4), list[str]()
        greedy = [Guest(house, "a", order, slow=True) for _ in range(6)]
        await settled()
        others = [Guest(house, client, order) for client in "bcb"]
        await settled()
        turned_away = [guest for guest in greedy if guest.task.done()]
        assert turned_away == greedy[3:], "the youngest ones"
        assert all(isinstance(guest.task.exception(), Overloaded) for guest in turned_away)
        assert order == ["b", "c"], "those that are read keep nobody from working"
        with pytest.raises(Overloaded):
            house.enter("a")
        for guest in [*greedy, *others]:
            guest.read.set()
            guest.end.set()
        await asyncio.gather(*(guest.task for guest in [*greedy[:3], *others]))
        assert (house.inside, house.running, house.num_waiting) == (0, 0, 0)

    running(test())


def test_of_those_that_are_read_and_those_that_wait_the_youngest_makes_room() -> None:
    async def test() -> None:
        house = Admission(1, 3)
        works, waits, late = Guest(house, "a", []), Guest(house, "a", []), Guest(house, "a", [], slow=True)
        youngest = Guest(house, "a", [])
        await settled()
        modest = [Guest(house, "b", [])]
        await settled()
        assert [guest.task.done() for guest in (works, waits, late, youngest)] == [False, False, False, True]
        modest.append(Guest(house, "c", []))
        await settled()
        assert [guest.task.done() for guest in (works, waits, late)] == [False, False, True]
        for guest in (works, waits, *modest):
            guest.end.set()
        await asyncio.gather(works.task, waits.task, *(guest.task for guest in modest))
        assert house.inside == 0

    running(test())


def test_what_is_done_before_a_turn_ends_with_its_request() -> None:
    async def test() -> None:
        house, ends = Admission(1, 1), list[str]()

        async def read(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(name)

        async def ask(name: str) -> None:
            with house.enter("a") as place:
                await place.before(read(name))

        asked = [asyncio.create_task(ask(name)) for name in ("first", "second")]
        await settled()
        other = house.enter("b")
        await settled()
        assert ends == ["second"]
        asked[0].cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        other.leave()
        assert (ends, house.inside) == (["second", "first"], 0)

    running(test())


def test_what_goes_wrong_before_a_turn_is_raised() -> None:
    async def test() -> None:
        async def read() -> None:
            raise ValueError("no body")

        house = Admission(1, 1)
        with pytest.raises(ValueError, match="no body"), house.enter("a") as place:
            await place.before(read())
        assert house.inside == 0

    running(test())


def test_who_was_turned_away_cannot_wait_any_more() -> None:
    async def test() -> None:
        house = Admission(1, 1)
        first, second = house.enter("a"), house.enter("a")
        other = house.enter("b")
        with pytest.raises(Overloaded):
            await second.turn()
        assert (house.num_waiting, house.inside) == (0, 2)
        first.leave()
        await other.turn()
        other.leave()
        assert (house.inside, house.running) == (0, 0)

    running(test())
