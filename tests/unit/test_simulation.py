"""The simulated service: virtual time is exact where arithmetic is, and the rules are those of what is simulated."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.cache import PrefixCache
from benchmarks.simulation.clock import Clock, Host, Process
from benchmarks.simulation.engine import Call, Engine, EngineOptions, StepTimes
from benchmarks.simulation.fitting import Block, step_times
from benchmarks.simulation.options import Costs, ServiceOptions
from benchmarks.simulation.results import results
from benchmarks.simulation.routing import FORGET_S, Router
from benchmarks.simulation.workload import arriving, closed_loop, open_loop
from benchmarks.structures import draw, scaled

STEPS = StepTimes(1.0, 0.0, 0.0)  # every step takes a second
TIMES = StepTimes(0.02, 0.001, 0.0001, 1e-8)
ALL_AT_ONCE = EngineOptions(max_num_seqs=1000, step_tokens=1 << 30)
SHORT = [scaled(structure, 0.1) for structure in draw(24, 3)]


# --- time ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.integers(1, 4))
def test_a_host_does_as_much_work_a_second_as_it_has_cores(works: list[float], cores: int) -> None:
    clock, ends = Clock(), list[float]()
    host = Host(clock, cores)
    for work in works:
        host.start(work, lambda: ends.append(clock.now))
    clock.run()
    assert len(ends) == len(works)
    assert clock.now >= max(max(works), sum(works) / cores) - 1e-6
    assert clock.now <= sum(works) / cores + max(works) + 1e-6
    if len(works) <= cores:
        assert sorted(ends) == pytest.approx(sorted(works))


def test_work_of_others_takes_its_share_of_the_cores() -> None:
    clock, ends = Clock(), list[float]()
    Host(clock, cores=2, others=7).start(1.0, lambda: ends.append(clock.now))
    clock.run()
    assert ends == pytest.approx([4.0])


def test_a_job_that_is_given_up_says_how_much_it_had_done_and_never_ends() -> None:
    clock, ended = Clock(), list[str]()
    host = Host(clock, cores=1)
    job = host.start(4.0, lambda: ended.append("given up"))
    host.start(4.0, lambda: ended.append("other"))
    done = list[float]()
    clock.after(2.0, lambda: done.append(host.stop(job)))
    clock.run()
    assert done == pytest.approx([1.0])
    assert ended == ["other"]
    assert clock.now == pytest.approx(5.0)


def test_a_process_does_one_thing_after_the_other() -> None:
    clock, ends = Clock(), list[float]()
    process = Process(Host(clock))
    for _ in range(3):
        process.do(2.0, lambda: ends.append(clock.now))
    clock.run()
    assert ends == [2.0, 4.0, 6.0]


# --- engines ---------------------------------------------------------------------------------------------------------


@st.composite
def loads(draw: st.DrawFn) -> list[tuple[float, int, int]]:
    """When calls come, how long their prompts are, how much they say."""
    return draw(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 90), st.integers(1, 40)), min_size=1, max_size=12))


def step_by_step(calls: list[tuple[float, int, int]], times: StepTimes, most: int, room: int) -> list[float]:
    """When each call has ended, by taking every step: the plain way."""
    now, ends, left = 0.0, [math.nan] * len(calls), [[prompt, says] for _, prompt, says in calls]
    running, due = list[int](), sorted(range(len(calls)), key=lambda n: calls[n][0])
    while running or due:
        now = max(now, calls[due[0]][0]) if due and not running else now
        while due and len(running) < most and calls[due[0]][0] <= now:
            running.append(due.pop(0))
        decoded = [n for n in running if not left[n][0]]
        context = sum(calls[n][1] + calls[n][2] - left[n][1] for n in decoded)
        read, tokens = list[int](), 0
        for n in running:
            taken = min(left[n][0], max(1, room - len(decoded)) - tokens)
            left[n][0] -= taken
            tokens += taken
            read += [n] if taken and not left[n][0] else []
        now += times.step_s(len(decoded), tokens, context)
        for n in (*decoded, *read):
            left[n][1] -= 1
            ends[n] = now if not left[n][1] else ends[n]
        running = [n for n in running if left[n][1]]
    return ends


@settings(deadline=None, max_examples=60)
@given(loads(), st.integers(1, 6), st.integers(8, 64))
def test_taking_many_steps_at_once_ends_every_call_when_taking_each_of_them_does(
    calls: list[tuple[float, int, int]], most: int, room: int
) -> None:
    times = replace(TIMES, context_s=0.0)
    calls = [(round(at, 3) + number * 1e-4, prompt, says) for number, (at, prompt, says) in enumerate(sorted(calls))]
    clock = Clock()
    engine = Engine(Host(clock), times, EngineOptions(most, room, 16))
    ends = [math.nan] * len(calls)

    def come(number: int) -> None:
        at, prompt, says = calls[number]

        def told(tokens: int) -> None:
            ends[number] = clock.now if tokens == says else ends[number]

        engine.submit(Call(f"s{number}", (at, 0), prompt, prompt, tuple({1, says}), True, told))

    for number, (at, _, _) in enumerate(calls):
        clock.after(at, lambda number=number: come(number))  # type: ignore[misc]
    clock.run()
    assert ends == pytest.approx(step_by_step(calls, times, most, room), abs=1e-6)
    assert engine.totals.sampled_tokens == sum(says for _, _, says in calls)


def test_of_calls_that_wait_those_with_less_priority_number_go_first() -> None:
    clock, order = Clock(), list[str]()
    engine = Engine(Host(clock), STEPS, EngineOptions(max_num_seqs=1))
    for name, priority in (("first", (9.0, 0)), ("planner", (1.0, 1)), ("executor", (1.0, 0)), ("young", (2.0, 0))):
        engine.submit(Call(name, priority, 4, 4, (2,), True, lambda _, name=name: order.append(name)))  # type: ignore[misc]
    clock.run()
    assert order == ["first", "executor", "planner", "young"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 200), st.integers(1, 50), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_a_prefix_cache_never_holds_more_than_it_has_and_gives_everything_back(
    calls: list[tuple[str, int, int, bool]],
) -> None:
    cache, under_way = PrefixCache(40, 16), list[tuple[str, int, int]]()
    for session, thread, own, ends in calls:
        cached = cache.cached(session, thread, 0, thread + own)
        assert 0 <= cached <= thread
        assert cached < thread + own
        taken = cache.take(session, cached, thread, thread + own)
        if taken is not None:
            under_way.append((session, taken, thread))
        if ends and under_way:
            cache.give(*under_way.pop(), object())
        assert 0 <= cache.free <= cache.blocks
    while under_way:
        cache.give(*under_way.pop(), object())
    assert cache.take("whole", 0, 0, 40 * 16) is not None


def test_what_was_read_of_a_thread_is_there_for_the_next_call_until_others_need_the_room() -> None:
    cache = PrefixCache(8, 16)
    own = cache.take("a", 0, 64, 80)
    assert own is not None
    cache.give("a", own, 64, "call")
    assert cache.cached("a", 70, 0, 100) == 64
    assert cache.take("b", 0, 100, 112) is not None
    assert cache.cached("a", 70, 0, 100) == 16


# --- the service -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", SHORT, ids=lambda structure: structure.id)
def test_a_question_alone_takes_as_many_steps_as_its_critical_path_has_tokens(structure) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    _, asked = closed_loop(ServiceOptions(STEPS, ALL_AT_ONCE), [structure], 1)
    assert asked[0].end_s == pytest.approx(structure.pipelined_tokens)


def test_a_load_that_is_run_again_gives_the_same_and_all_questions_are_answered() -> None:
    options = ServiceOptions(TIMES, EngineOptions(8), Costs(0.01, 0, 0.004, 1e-6, 0.002, 0.003), replicas=3, cores=2)
    first, second = (results(*closed_loop(options, SHORT, 10)) for _ in range(2))
    assert first == second
    assert first.answered == len(SHORT)


def test_clients_of_a_closed_loop_are_never_more_than_there_are() -> None:
    _, asked = closed_loop(ServiceOptions(TIMES, EngineOptions(8)), SHORT, 5)
    changes = sorted([(each.began_s, 1) for each in asked] + [(each.end_s, -1) for each in asked])
    together = [sum(change for _, change in changes[:n]) for n in range(1, len(changes) + 1)]
    assert max(together) == 5


def test_a_full_service_lets_questions_wait_and_refuses_those_beyond() -> None:
    options = ServiceOptions(STEPS, ALL_AT_ONCE, max_requests=2, max_queued=1)
    _, asked = arriving(options, SHORT[:4], [0.0, 0.0, 0.0, 0.0])
    assert [each.refused for each in asked] == [False, False, False, True]
    assert asked[2].end_s > min(asked[0].end_s, asked[1].end_s) + SHORT[2].pipelined_tokens - 1


def test_calls_of_a_question_stay_where_its_prefix_is_unless_that_is_busy() -> None:
    options = ServiceOptions(TIMES, EngineOptions(64), replicas=4)
    idle, loyal, restless = (
        results(*closed_loop(replace(options, margin=margin), SHORT, clients))
        for margin, clients in ((16, 1), (1000, 16), (0, 16))
    )
    assert idle.affinity == loyal.affinity == 1
    assert restless.affinity < 0.7
    assert restless.cached < loyal.cached


def test_a_router_takes_a_replica_that_it_has_not_heard_of_for_a_while_for_idle() -> None:
    clock = Clock()
    router = Router(clock, margin=0, capacity=100)
    router.update(["a", "b"])
    home = router.choose("s")
    assert router.choose("s") != home
    clock.after(FORGET_S + 1, lambda: None)
    clock.run()
    assert router.choose("s") == home


def test_questions_that_arrive_by_themselves_wait_longer_the_more_there_are() -> None:
    options = ServiceOptions(TIMES, EngineOptions(4))
    calm, busy = (results(*open_loop(options, SHORT, rate)) for rate in (0.05, 5.0))
    assert busy.p50_s > calm.p50_s


def test_step_times_are_found_again_from_what_engines_used() -> None:
    true, blocks = StepTimes(0.02, 0.001, 0.001), list[Block]()
    for clients in (1, 4, 12):
        service, _ = closed_loop(ServiceOptions(true, EngineOptions(8)), SHORT, clients)
        blocks.append(Block(SHORT, clients, service.pools[0].replicas["model-0"].engine.totals.busy_s))
    found = step_times(blocks, ServiceOptions(StepTimes(0.05, 0.0001, 0.0001), EngineOptions(8)))
    assert (found.base_s, found.sequence_s) == pytest.approx((0.02, 0.001), rel=0.05)
    assert found.prefill_s == found.sequence_s
