"""Replays the kept corpus of malformed cases, and holds a few hundred random rollouts against the fuzzer's laws."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.options import Dispatch, EngineOptions
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import ByteTokenizer
from tests.fuzz import mutate, play, targets
from tests.fuzz.broken import Broken
from tests.fuzz.cases import ERRORS, FINISHES, Case, Say
from tests.fuzz.loop import Stuck, VirtualLoop
from tests.fuzz.shrink import shrunk

ENGINE, PARSER = targets.EngineTarget(), targets.ParserTarget()
BYTES = ByteTokenizer()
_FINAL = "<Final_answer>\n\\boxed{7}\n</Final_answer>"


def _kept(target: targets.Target) -> list[dict[str, Any]]:
    return targets.load(target.name)


def _named(target: targets.Target) -> list[Any]:
    return [pytest.param(entry["input"], id=entry["name"]) for entry in _kept(target) if entry.get("name")]


@pytest.mark.parametrize("chunks", _named(PARSER))
def test_the_parser_bears_every_named_case(chunks: list[str]) -> None:
    PARSER.check(chunks, Random(0), thorough=True)


@pytest.mark.parametrize("case", _named(ENGINE))
def test_the_engine_bears_every_named_case(case: dict[str, Any]) -> None:
    for seed in range(3):
        ENGINE.check(case, Random(seed), thorough=True)


@pytest.mark.parametrize("target", [PARSER, ENGINE], ids=["parser", "engine"])
def test_what_the_fuzzer_found_stays_mended(target: targets.Target) -> None:
    for entry in _kept(target):
        target.check(entry["input"], Random(0), thorough=True)


def test_a_case_is_read_back_as_it_was_written() -> None:
    for entry in _kept(ENGINE):
        case = Case.from_dict(entry["input"])
        assert Case.from_dict(json.loads(json.dumps(case.as_dict()))) == case


# --- random rollouts -------------------------------------------------------------------------------------------------

_fragments = st.one_of(
    st.randoms(use_true_random=False).map(mutate.piece),
    st.sampled_from(["<prompt_1.1> a </prompt_1.1>", "<prompt_1.2></prompt_1.2>", "</Plan_1>", "<Plan_1>\n", _FINAL]),
    st.text(max_size=6),
)
_says = st.builds(
    Say,
    text=st.lists(_fragments, max_size=8).map("".join),
    chunks=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple),
    end=st.sampled_from(["eos"] * 4 + [*FINISHES, *ERRORS]),
    delay=st.sampled_from([0.0, 0.0, 0.01]),
    rude=st.booleans(),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any models under any options, within a budget that keeps them fast."""
    names = draw(st.lists(st.sampled_from(sorted(targets.OPTIONS)), max_size=4, unique=True))
    options = {name: draw(st.sampled_from(targets.OPTIONS[name])) for name in names}
    says = st.lists(_says, max_size=4).map(tuple)
    room = draw(st.sampled_from([100_000, 100_000, 200, 40, 3]))
    tokenizer = draw(st.sampled_from(sorted(play.TOKENIZERS)))
    return Case(draw(says), draw(says), {"max_tokens": 300} | options, room, tokenizer)


@given(case=cases(), seed=st.integers(0, 3))
@settings(max_examples=300)
def test_every_rollout_keeps_the_laws(case: Case, seed: int) -> None:
    ENGINE.check(case.as_dict(), Random(seed), thorough=True)


@given(st.text(max_size=80), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_every_text_keeps_the_laws(text: str, random: Random) -> None:
    mutant = mutate.mutated(random, text, [_FINAL])
    PARSER.check(mutate.chunked(random, mutant), Random(0), thorough=True)


# --- cancellation ----------------------------------------------------------------------------------------------------


@given(case=cases(), index=st.integers(0, 400))
@settings(max_examples=150)
def test_leaving_at_any_event_leaves_nothing_behind(case: Case, index: int) -> None:
    play.check_cancelled(case, VirtualLoop(), index)


@pytest.mark.parametrize("dispatch", list(Dispatch))
def test_leaving_a_scripted_model_at_each_event_leaves_nothing_behind(dispatch: Dispatch) -> None:
    """Three prompts at different speeds, an answer, and every single place to leave."""
    plan = "<Plan_1>\n" + "\n".join(f"<prompt_1.{k}> x </prompt_1.{k}>" for k in (1, 2, 3)) + "\n</Plan_1>"
    index, reached = 0, 1
    while reached:
        said = iter([plan, _FINAL])
        planner = ScriptedLLM(BYTES, lambda _, said=said: next(said), chunk_tokens=4)
        executor = ScriptedLLM(BYTES, lambda _: "done " * 9 + "\n</execution_1.1>", chunk_tokens=16, token_s=0.001)
        engine = Engine(planner, executor, Prompter(BYTES, ModelCard(Method.SPRINT, Instruction.NONE)), 1 << 16)
        loop = VirtualLoop()
        reached = loop.run(play.left_at(engine, "q?", EngineOptions(temperature=0, dispatch=dispatch), index))
        assert not loop.left_over()
        assert planner.running == executor.running == 0
        loop.close()
        index += 1
    assert index > 30


# --- the fuzzer itself can fail --------------------------------------------------------------------------------------


def test_a_loop_finds_what_waits_forever() -> None:
    with pytest.raises(Stuck, match="never happen"):
        VirtualLoop().run(asyncio.Event().wait())


def test_a_loop_finds_what_never_ends() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop = VirtualLoop()
    loop.begin(most_turns=1000)
    with pytest.raises(Stuck, match="no end after 1001 turns"):
        loop.run(spin())


def test_sleeping_costs_no_time_but_keeps_the_order() -> None:
    async def in_order() -> list[int]:
        done: list[int] = []

        async def wait(seconds: int) -> None:
            await asyncio.sleep(seconds)
            done.append(seconds)

        await asyncio.gather(wait(3_000), wait(1_000), wait(2_000))
        return done

    assert VirtualLoop().run(in_order()) == [1_000, 2_000, 3_000]


def test_a_broken_law_is_found_and_made_small() -> None:
    def breaks(text: object) -> bool:
        return "</Plan_1>" in str(text) and "<prompt" in str(text)

    assert shrunk("a <prompt_1.1> b\n</Plan_1> c", breaks) == "<prompt</Plan_1>"


def test_a_case_that_breaks_a_law_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "events", _two_endings)
    with pytest.raises(Broken, match="Finished comes once"):
        ENGINE.check({"planner": [{"text": _FINAL}]}, Random(0), thorough=False)


_honest_events = Engine.events


async def _two_endings(self: Engine, *arguments: Any, **options: Any) -> Any:
    events = [event async for event in _honest_events(self, *arguments, **options)]
    for event in [*events, events[-1]]:
        yield event
