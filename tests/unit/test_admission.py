"""Who is let in, whose turn it is and who is turned away."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.admission import Admission, Place
from serve_app.api.failures import Overloaded
from tests.unit.guests import Guest, running, settled


async def served_one_by_one(house: Admission, clients: str) -> str:
    """The order in which waiting requests of these clients (a letter each) are served when one works at a time."""
    order: list[str] = []
    guests = [Guest(house, client, order) for client in clients]
    for served in range(1, len(guests) + 1):
        await settled()
        assert len(order) == served, "one works, the others wait"
        next(guest for guest in guests if guest.client == order[-1] and not guest.end.is_set()).end.set()
    await asyncio.gather(*(guest.task for guest in guests))
    return "".join(order)


def test_waiting_requests_are_served_client_by_client() -> None:
    async def test() -> None:
        assert await served_one_by_one(Admission(1, 100), "aaaaabbc") == "aabcabaa"

    running(test())


def test_one_client_is_served_in_order() -> None:
    async def test() -> None:
        house, order = Admission(1, 10), list[Guest]()
        guests = [Guest(house, "a", []) for _ in range(4)]
        for _ in guests:
            await settled()
            order.append(next(other for other in guests if other.place.works and not other.task.done()))
            order[-1].end.set()
        await asyncio.gather(*(guest.task for guest in guests))
        assert order == guests
        assert (house.inside, house.running, house.num_waiting) == (0, 0, 0)

    running(test())


def test_no_more_work_at_once_than_may_and_the_rest_is_refused_at_once() -> None:
    async def test() -> None:
        house, order = Admission(2, 3), list[str]()
        guests = [Guest(house, "a", order) for _ in range(5)]
        await settled()
        assert (house.running, house.num_waiting, len(order)) == (2, 3, 2)
        with pytest.raises(Overloaded, match="works on 2 requests and holds 3 more") as refusal:
            house.enter("a")
        assert refusal.value.retry_after_s == 1
        for guest in guests:
            guest.end.set()
        await asyncio.gather(*(guest.task for guest in guests))
        assert house.inside == 0
        house.enter("a").leave()

    running(test())


def test_a_client_that_fills_the_house_makes_room_for_another() -> None:
    async def test() -> None:
        house, order = Admission(1, 4), list[str]()
        greedy = [Guest(house, "a", order) for _ in range(5)]
        await settled()
        modest = [Guest(house, "b", order) for _ in range(2)]
        await settled()
        turned_away = [guest for guest in greedy if guest.task.done()]
        assert turned_away == greedy[3:], "the youngest ones"
        assert all(isinstance(guest.task.exception(), Overloaded) for guest in turned_away)
        with pytest.raises(Overloaded):
            house.enter("b")  # both wait with two now: nobody waits with more
        for guest in [*greedy, *modest]:
            guest.end.set()
        await asyncio.gather(*(guest.task for guest in [*greedy, *modest]), return_exceptions=True)
        assert "".join(order) == "aabab"
        assert (house.inside, house.running, house.num_waiting) == (0, 0, 0)

    running(test())


def test_without_a_queue_a_newcomer_is_refused_while_all_work() -> None:
    async def test() -> None:
        house = Admission(1, 0)
        guest = Guest(house, "a", [])
        await settled()
        with pytest.raises(Overloaded):
            house.enter("b")
        guest.end.set()
        await guest.task
        house.enter("b").leave()

    running(test())


def test_who_goes_away_while_waiting_leaves_the_queue() -> None:
    async def test() -> None:
        house, order = Admission(1, 5), list[str]()
        first, second, third = (Guest(house, "a", order) for _ in range(3))
        await settled()
        second.task.cancel()
        with suppress(asyncio.CancelledError):
            await second.task
        assert (house.inside, house.num_waiting) == (2, 1)
        first.end.set()
        third.end.set()
        await asyncio.gather(first.task, third.task)
        assert (house.inside, house.running, house.num_waiting) == (0, 0, 0)

    running(test())


def test_a_turn_that_comes_as_its_request_is_cancelled_goes_to_the_next() -> None:
    async def test() -> None:
        house, order = Admission(1, 5), list[str]()
        first, second, third = (Guest(house, client, order) for client in "abc")
        await settled()
        first.end.set()
        await asyncio.sleep(0)  # the first is about to leave and to call the second ...
        second.task.cancel()
        third.end.set()
        await asyncio.gather(first.task, second.task, third.task, return_exceptions=True)
        assert order[-1] == "c"
        assert (house.inside, house.running) == (0, 0)

    running(test())


STEPS = st.sampled_from(["enter", "enter slowly", "read", "end", "cancel"])


@given(st.lists(st.tuples(STEPS, st.sampled_from("abc")), max_size=60))
def test_whatever_happens_the_bounds_hold_and_nothing_is_left(steps: list[tuple[str, str]]) -> None:
    async def test() -> None:
        house, guests = Admission(2, 3), list[Guest]()
        for step, client in steps:
            mine = [guest for guest in guests if guest.client == client and not guest.task.done()]
            if step.startswith("enter"):
                with suppress(Overloaded):
                    guests.append(Guest(house, client, [], slow=step == "enter slowly"))
            elif mine and step == "read":
                mine[-1].read.set()
            elif mine and step == "end":
                mine[0].end.set()
            elif mine:
                mine[-1].task.cancel()
            await asyncio.sleep(0)
            assert house.running <= 2
            assert house.inside <= 5
            assert sum(map(len, house._idle.values())) == house.inside - house.running
            assert house.num_waiting == 0 or house.running == 2, "nobody waits while there is room to work"
        for guest in guests:
            guest.read.set()
            guest.end.set()
        await asyncio.gather(*(guest.task for guest in guests), return_exceptions=True)
        assert (house.inside, house.running, house.num_waiting) == (0, 0, 0)
        assert house._waiting == house._idle == {}

    running(test())


def test_leaving_twice_counts_once() -> None:
    async def test() -> None:
        house = Admission(1, 1)
        place: Place = house.enter("a")
        place.leave()
        place.leave()
        assert house.inside == 0

    running(test())
