"""Which replica a call goes to, and when a call is taken up again on another one."""

import asyncio
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.pools import serve_llm
from serve_app.pools.affinity import Tally, Ticket, hedged_session, preferred, ranked
from serve_app.pools.serve_llm import ServeLLM
from serve_app.pools.vllm_server import CallDropped, EngineStopped
from sprint.errors import ContextOverflow, InputError, LLMError, LLMUnavailable, SprintError
from sprint.llm import Chunk, FinishReason, Sampling

REPLICAS = ["a", "b", "c", "d"]
NAMES = st.text("abcdef.-0123456789", min_size=1, max_size=12)


# --- where calls go --------------------------------------------------------------------------------------------------


@given(NAMES, st.permutations(REPLICAS))
def test_all_calls_of_a_session_go_to_one_replica_in_whatever_order_replicas_are_told(
    session: str, replicas: list[str]
) -> None:
    loads = dict.fromkeys(replicas, 0)
    assert preferred(Ticket(session), loads, 4, 100) == preferred(Ticket(session), dict.fromkeys(REPLICAS, 0), 4, 100)


def test_sessions_spread_evenly() -> None:
    homes = Counter(ranked(f"request-{number}", REPLICAS)[0] for number in range(4000))
    assert all(800 < times < 1200 for times in homes.values())


@given(NAMES, st.sampled_from(REPLICAS))
def test_a_replica_that_goes_moves_only_its_own_sessions(session: str, gone: str) -> None:
    before = ranked(session, REPLICAS)
    assert ranked(session, [name for name in REPLICAS if name != gone]) == [name for name in before if name != gone]


@given(NAMES, st.integers(1, 12), st.integers(1, 32))
def test_a_hedge_prefers_another_replica_than_its_session(session: str, round: int, number: int) -> None:
    hedge = f"{session}~{round}.{number}"
    assert hedged_session(hedge) == session
    assert ranked(hedge, REPLICAS)[0] == ranked(session, REPLICAS)[1]
    assert ranked(hedge, ["only"]) == ["only"]


@given(st.from_regex(r"[A-Za-z0-9._-]{1,60}(-\d+)?(\.\d+)?", fullmatch=True))
def test_no_request_id_reads_as_a_hedge(request_id: str) -> None:
    assert hedged_session(request_id) is None
    tally = Tally()
    Ticket(request_id, "", tally).routed(ranked(request_id, REPLICAS)[0], REPLICAS)
    assert (tally.affinity_hits, tally.hedges) == (1, 0)


def test_a_hedge_never_goes_where_the_call_is_that_it_backs_up() -> None:
    order = ranked("s", REPLICAS)
    busy_elsewhere = {name: 0 if name == order[1] else 50 for name in REPLICAS}  # so the first call went to its second
    hedge = Ticket("s~1.1", elsewhere=order[1])
    assert order[1] not in preferred(hedge, busy_elsewhere, 4, 100)
    assert preferred(Ticket("s~1.1", elsewhere="a"), {"a": 0}, 4, 100) == ["a"]


@given(NAMES, st.dictionaries(st.sampled_from(REPLICAS), st.integers(0, 40), min_size=1), st.integers(0, 20))
def test_the_first_choice_is_never_busier_than_the_least_busy_by_more_than_the_margin(
    session: str, loads: dict[str, int], margin: int
) -> None:
    order = preferred(Ticket(session), loads, margin, 1000)
    assert sorted(order) == sorted(loads)
    assert loads[order[0]] <= min(loads.values()) + margin


def test_a_busy_home_spills_over_to_the_second_choice_and_no_further() -> None:
    first, second, *others = ranked("s", REPLICAS)
    loads = {first: 9, second: 3, **dict.fromkeys(others, 0)}
    assert preferred(Ticket("s"), loads, 9, 100)[0] == first
    assert preferred(Ticket("s"), loads, 8, 100)[0] == second
    assert preferred(Ticket("s"), loads, 2, 100)[0] in others


def test_a_full_replica_comes_last_however_wide_the_margin() -> None:
    first, *others = ranked("s", REPLICAS)
    assert preferred(Ticket("s"), {first: 10, **dict.fromkeys(others, 9)}, 100, 10)[-1] == first


def test_a_replica_that_failed_a_call_does_not_get_it_again() -> None:
    ticket = Ticket("s")
    for name in ranked("s", REPLICAS):
        assert preferred(ticket, dict.fromkeys(REPLICAS, 0), 4, 100)[0] == name
        ticket.routed(name, REPLICAS)
        ticket.again()
    assert preferred(ticket, dict.fromkeys(REPLICAS, 0), 4, 100) == []


def test_where_calls_went_is_counted() -> None:
    tally = Tally()
    first, second, *_ = ranked("s", REPLICAS)
    for session, replica in (("s", first), ("s", first), ("s", second), ("s~1.1", second)):
        Ticket(session, "", tally).routed(replica, REPLICAS)
    assert (tally.calls, tally.affinity_hits, tally.spill_overs, tally.hedges) == (4, 2, 1, 1)


def test_of_a_ticket_only_session_and_caller_travel() -> None:
    ticket = Ticket("s", "planner", Tally(calls=5))
    ticket.routed("a", REPLICAS)
    copy = pickle.loads(pickle.dumps(ticket))
    assert (copy.session, copy.caller, copy.replica, copy.tally.calls) == ("s", "planner", None, 0)


# --- replicas that fail ----------------------------------------------------------------------------------------------

TEXT = "one two</Plan_1> three"


def engine(prompt_ids: Sequence[int], sampling: Sampling) -> list[Chunk]:
    """TEXT, one character an id, after a prompt of one id."""
    start = len(prompt_ids) - 1
    ends = [None] * (len(TEXT) - 1) + [FinishReason.EOS]
    return [Chunk((ord(c),), c, end) for c, end in zip(TEXT[start:], ends[start:], strict=True)]


class FakeResponse:
    """A streaming call: chunks, and perhaps an error after them."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = list(items)
        self.cancelled = False
        self._woken = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if not self._items:
            raise StopAsyncIteration
        item = self._items.pop(0)
        if item == "hangs":
            await self._woken.wait()
            raise RuntimeError("cancelled")
        if isinstance(item, Exception):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled = True
        self._woken.set()


class FakeHandle:
    """A deployment whose replicas do what `script` says, one attempt after the other. `reached`: so many get there."""

    def __init__(self, script: Callable[[int, Sequence[int], Sampling], Sequence[Any]], *, reached: int = 100) -> None:
        self._script, self._reached = script, reached
        self.singly: list[int] = []
        self.asked: list[tuple[tuple[int, ...], Sampling, Ticket]] = []
        self.responses: list[FakeResponse] = []

    def options(self, **_: Any) -> "FakeHandle":
        return self

    def remote(
        self, prompt_ids: tuple[int, ...], sampling: Sampling, _: Any, ticket: Ticket, singly_chars: int
    ) -> FakeResponse:
        self.asked.append((prompt_ids, sampling, ticket))
        self.singly.append(singly_chars)
        if len(self.asked) <= self._reached:
            ticket.routed(f"replica-{len(self.asked)}", [f"replica-{len(self.asked)}"])
        self.responses.append(FakeResponse(self._script(len(self.asked), prompt_ids, sampling)))
        return self.responses[-1]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_llm, "PAUSE_S", 0.0)
    monkeypatch.setattr(serve_llm, "own_name", lambda: "")


def died() -> Exception:
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def as_raised_on_a_replica(error: Exception) -> Exception:
    from ray.exceptions import RayTaskError

    return RayTaskError("generate", "traceback", error).as_instanceof_cause()


async def ask(handle: FakeHandle, **options: Any) -> tuple[ServeLLM, str]:
    llm = ServeLLM(handle, **options)
    return llm, "".join([chunk.text async for chunk in llm.stream((0,), Sampling(100, 0.0), session="s")])


@pytest.mark.parametrize("error", [died, lambda: as_raised_on_a_replica(EngineStopped("stopped"))])
def test_a_call_goes_on_from_what_has_been_sampled(error: Callable[[], Exception]) -> None:
    def script(attempt: int, prompt_ids: Sequence[int], sampling: Sampling) -> list[Any]:
        chunks = engine(prompt_ids, sampling)
        return [*chunks[:5], error()] if attempt < 3 else chunks

    async def run() -> None:
        handle = FakeHandle(script)
        llm, text = await ask(handle)
        assert text == TEXT
        assert [len(prompt) for prompt, _, _ in handle.asked] == [1, 6, 11]
        assert [sampling.max_tokens for _, sampling, _ in handle.asked] == [100, 95, 90]
        assert handle.asked[-1][2].lost == {"replica-1", "replica-2"}
        assert (llm.tally.retries, llm.tally.lost, llm.tally.cancelled) == (2, 0, 0)

    asyncio.run(run())


def test_a_replica_that_took_its_caller_for_dead_may_have_the_call_again() -> None:
    def script(attempt: int, prompt_ids: Sequence[int], sampling: Sampling) -> list[Any]:
        return [as_raised_on_a_replica(CallDropped("dropped"))] if attempt < 2 else engine(prompt_ids, sampling)

    async def run() -> None:
        handle = FakeHandle(script)
        llm, text = await ask(handle)
        assert text == TEXT
        assert handle.asked[-1][2].lost == set()
        assert llm.tally.retries == 1

    asyncio.run(run())


def test_a_call_that_fails_everywhere_is_given_up() -> None:
    async def run() -> None:
        handle = FakeHandle(lambda *_: [died()])
        with pytest.raises(LLMUnavailable, match="failed on 4 model replicas"):
            await ask(handle)
        assert len(handle.asked) == 1 + serve_llm.RETRIES
        assert handle.asked[0][2].tally.lost == 1

    asyncio.run(run())


@pytest.mark.parametrize("kind", [ContextOverflow, LLMError, LLMUnavailable, InputError])
def test_what_an_engine_refuses_is_not_asked_for_again(kind: type[SprintError]) -> None:
    async def run() -> None:
        handle = FakeHandle(lambda *_: [as_raised_on_a_replica(kind("no"))])
        with pytest.raises(kind, match="no"):
            await ask(handle)
        assert len(handle.asked) == 1

    asyncio.run(run())


def test_a_call_that_no_replica_can_take_is_given_up_after_a_while() -> None:
    async def run() -> None:
        handle = FakeHandle(lambda *_: ["hangs"], reached=0)
        with pytest.raises(LLMUnavailable, match="no model replica"):
            await ask(handle, patience_s=0.02)
        assert handle.responses[0].cancelled

    asyncio.run(run())


@pytest.mark.parametrize("error", [died(), as_raised_on_a_replica(CallDropped("dropped"))])
def test_a_call_that_is_taken_up_again_waits_no_longer_for_a_replica_than_its_first_attempt(error: Exception) -> None:
    def script(attempt: int, prompt_ids: Sequence[int], sampling: Sampling) -> list[Any]:
        return [*engine(prompt_ids, sampling)[:5], error] if attempt < 3 else ["hangs"]

    async def run() -> None:
        handle = FakeHandle(script, reached=2)
        with pytest.raises(LLMUnavailable, match="no model replica"):
            await asyncio.wait_for(ask(handle, patience_s=0.02), 10)
        assert [response.cancelled for response in handle.responses] == [True] * 3

    asyncio.run(run())


def test_a_stop_string_that_began_before_the_cut_ends_the_call_on_the_engine_too() -> None:
    scripts = [[Chunk((1, 2), "x </"), died()], [Chunk((3,), "a"), Chunk((4,), "> and"), "hangs"]]

    async def run() -> None:
        handle = FakeHandle(lambda attempt, *_: scripts[attempt - 1])
        llm = ServeLLM(handle)
        chunks = [chunk async for chunk in llm.stream((0,), Sampling(100, 0.0, stop=("</a>",)), session="s")]
        assert ("".join(chunk.text for chunk in chunks), chunks[-1].finish_reason) == ("x </a>", FinishReason.STOP)
        assert handle.singly == [0, 2]
        assert handle.responses[-1].cancelled
        assert llm.tally.cancelled == 0

    asyncio.run(run())


def test_leaving_a_call_cancels_it_and_is_counted() -> None:
    async def run() -> None:
        handle = FakeHandle(lambda _, prompt, sampling: engine(prompt, sampling))
        llm = ServeLLM(handle)
        stream = llm.stream((0,), Sampling(100, 0.0), session="s")
        await anext(stream)
        await stream.aclose()
        assert handle.responses[0].cancelled
        assert llm.tally.cancelled == 1
        async for chunk in llm.stream((0,), Sampling(100, 0.0), session="s"):
            if chunk.finish_reason is not None:
                break
        assert llm.tally.cancelled == 1

    asyncio.run(run())


def test_a_hedge_is_told_where_the_call_is_that_it_backs_up() -> None:
    async def run() -> None:
        handle = FakeHandle(lambda *_: [Chunk((1,), "x"), "hangs"])
        llm = ServeLLM(handle)
        first, hedge = (llm.stream((0,), Sampling(9), session=session) for session in ("s", "s~2.1"))
        await anext(first)
        await anext(hedge)
        assert [ticket.elsewhere for _, _, ticket in handle.asked] == [None, "replica-1"]
        await first.aclose()
        await hedge.aclose()

    asyncio.run(run())
