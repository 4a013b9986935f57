"""Which replicas a planner works with while a pool goes from one model to another: all without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import PoolConfig
from serve_app.pools.model_version import version_of
from serve_app.pools.pools import none_runs
from serve_app.pools.staying import Staying
from serve_app.pools.versions import Stay, View

NAMES = st.sampled_from("abcdef")
LISTS = st.lists(st.dictionaries(NAMES, st.sampled_from(["old", "new"])), max_size=8)


def seen(version: str) -> tuple[View, list[str]]:
    asked: list[str] = []
    return View(version, ask=asked.append), asked


@given(LISTS, st.sampled_from(["old", "new"]))
def test_a_planner_never_sees_a_replica_of_another_model(lists: list[dict[str, str]], version: str) -> None:
    view, _ = seen(version)
    shown: set[str] = set()
    own: set[str] = set()
    for versions in lists:
        own |= {name for name, other in versions.items() if other == version}
        shown = view.listed(versions, shown)
        assert shown <= own
        assert not any(versions.get(name, version) != version for name in shown)


def test_the_last_replica_of_a_model_is_called_again_once_it_has_said_that_it_stays() -> None:
    view, asked = seen("old")
    assert view.listed({"a": "old", "b": "old"}, ()) == {"a", "b"}
    assert view.listed({"b": "old", "c": "new"}, {"a", "b"}) == {"b"}
    assert asked == []
    assert view.listed({"c": "new", "d": "new"}, {"b"}) == {"b"}
    assert asked == ["b"]
    assert not view.takes_calls("b")
    view.heard("b", Stay.STAYS)
    assert view.takes_calls("b")
    view.heard("b", Stay.GONE)
    assert view.listed({"c": "new"}, {"b"}) == set()
    assert asked == ["b"]


def test_one_that_stays_is_let_go_when_its_model_is_on_the_list_again() -> None:
    view, asked = seen("old")
    view.listed({"a": "old"}, ())
    view.listed({"b": "new"}, {"a"})
    view.heard("a", Stay.STAYS)
    assert view.listed({"b": "new", "c": "old"}, {"a"}) == {"c"}
    view.heard("a", Stay.STAYS)
    assert view.stays == {}
    assert asked == ["a"]


def test_without_a_version_all_are_worked_with_and_none_is_asked_to_stay() -> None:
    view, asked = seen("")
    assert view.listed({"a": "old", "b": "new"}, ()) == {"a", "b"}
    assert view.listed({}, {"a", "b"}) == set()
    assert asked == []


@pytest.mark.parametrize(("own", "others", "turn"), [(0, 0, False), (1, 0, True), (1, 1, True), (1, 2, False)])
def test_it_is_a_versions_turn_when_it_has_as_many_replicas_as_the_others(own: int, others: int, turn: bool) -> None:
    assert View("new", own, others).turn is turn


# --- asking a replica to stay ----------------------------------------------------------------------------------------


class Response:
    """What a replica says, and then whatever `end` waits for."""

    def __init__(self, *, dead: bool, end: asyncio.Event) -> None:
        self._dead, self._end, self.cancelled = dead, end, False
        self._said = self._saying()

    def __anext__(self) -> Any:
        return anext(self._said)

    def __aiter__(self) -> Any:
        return self

    async def _saying(self) -> AsyncIterator[bool]:
        if self._dead:
            raise RuntimeError("the actor died")
        yield True
        await self._end.wait()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment's handle, as far as it is asked here."""

    def __init__(self, *, dead: bool = False) -> None:
        self.end = asyncio.Event()
        self.dead, self.responses = dead, list[Response]()

    def options(self, **_: Any) -> Any:
        return self

    def remote(self, ticket: Any) -> Response:
        assert ticket.only == "a"
        self.responses.append(Response(dead=self.dead, end=self.end))
        return self.responses[-1]


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def replaced(view: View) -> None:
    view.listed({"a": "old"}, ())
    view.listed({"b": "new"}, {"a"})


def test_a_replica_stays_until_it_ends_the_call() -> None:
    async def run() -> None:
        handle, view = Handle(), View("old")
        staying = Staying(handle, view, name="planner")
        replaced(view)
        await until(lambda: view.takes_calls("a"))
        handle.end.set()
        await until(lambda: view.stays["a"] is Stay.GONE)
        assert staying.held == 0

    asyncio.run(run())


def test_a_replica_that_is_dead_gets_no_calls() -> None:
    async def run() -> None:
        view = View("old")
        Staying(Handle(dead=True), view, name="planner")
        replaced(view)
        await until(lambda: view.stays["a"] is Stay.GONE)
        assert not view.takes_calls("a")

    asyncio.run(run())


def test_a_replica_that_is_needed_no_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.pools.staying.LOOK_S", 0.01)

    async def run() -> None:
        handle, view = Handle(), View("old")
        Staying(handle, view, name="planner")
        replaced(view)
        await until(lambda: view.takes_calls("a"))
        view.listed({"c": "old"}, {"a"})
        await until(lambda: handle.responses[0].cancelled)

    asyncio.run(run())


def test_who_closes_lets_go_whom_it_held_and_asks_nobody_more() -> None:
    async def run() -> None:
        handle, view = Handle(), View("old")
        staying = Staying(handle, view, name="planner")
        replaced(view)
        await until(lambda: view.takes_calls("a"))
        staying.end()
        await until(lambda: handle.responses[0].cancelled)
        assert view.listed({"b": "new"}, {"a"}) == set()
        assert len(handle.responses) == 1

    asyncio.run(run())


# --- versions --------------------------------------------------------------------------------------------------------


def test_another_folder_other_files_or_another_engine_is_another_version(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    pool = PoolConfig(model=tmp_path / "a")
    first = version_of(pool)
    assert first == version_of(PoolConfig(model=tmp_path / "a", max_replicas=4, max_num_seqs=8))
    others = [PoolConfig(model=tmp_path / "b"), PoolConfig(model=tmp_path / "a", engine={"quantization": "fp8"})]
    assert len({first, *map(version_of, others)}) == 3
    (tmp_path / "a" / "config.json").write_text('{"a": 1}')
    assert version_of(pool) != first


@pytest.mark.parametrize(
    ("said", "none"),
    [
        (None, False),  # another version is being built: nothing is known
        (SimpleNamespace(replica_states={}), True),
        (SimpleNamespace(replica_states={"STARTING": 1}), True),
        (SimpleNamespace(replica_states={"RUNNING": 1}), False),
    ],
)
def test_what_is_not_known_to_run_is_not_taken_for_gone(said: Any, none: bool) -> None:
    assert none_runs(said) is none
