"""Plays one case: builds its engine and models, and sees all that the rollout shows.

It knows no law but that nothing is left behind.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from sprint import render
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.events import Event, Finished
from sprint.options import EngineOptions
from sprint.tokenizer import ByteTokenizer, Tokenizer
from sprint.types import Rollout
from tests.fuzz.broken import holds
from tests.fuzz.cases import Call, Case, FuzzedModel, executor_of, planner_of
from tests.fuzz.loop import VirtualLoop
from tests.fuzz.pieces import PieceTokenizer
from tests.unit.strategies import JoiningTokenizer

TOKENIZERS: dict[str, Tokenizer] = {"pieces": PieceTokenizer(), "bytes": ByteTokenizer(), "joining": JoiningTokenizer()}
MOST_TURNS = 100_000
_DEFAULTS = {field.name: field.default for field in fields(EngineOptions)}


@dataclass
class Seen:
    """One rollout and everything that can be seen of it."""

    case: Case
    options: EngineOptions
    tokenizer: Tokenizer
    rollout: Rollout
    events: list[Event]
    planner: FuzzedModel
    executor: FuzzedModel

    @property
    def calls(self) -> list[Call]:
        return self.planner.calls + self.executor.calls

    @property
    def in_rounds(self) -> bool:
        return self.rollout.trajectory is not None


def options_of(values: dict[str, Any]) -> EngineOptions:
    """The options of a case; those that the engine does not have (yet), or that do not go together, are left out."""
    known = {key: value for key, value in values.items() if key in _DEFAULTS}
    if known.get("view") == "whole_plan":
        known.pop("carry_on", None)
    enums = {key: type(_DEFAULTS[key])(value) for key, value in known.items() if isinstance(_DEFAULTS[key], Enum)}
    return EngineOptions(**{"temperature": 0.0} | known | enums)


def models_of(case: Case) -> tuple[Engine, FuzzedModel, FuzzedModel]:
    """The engine of a case, its planner and its executor."""
    tokenizer = TOKENIZERS[case.tokenizer]
    planner, executor = planner_of(case, tokenizer), executor_of(case, tokenizer)
    prompter = render.Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.NONE))
    return Engine(planner, executor, prompter, case.context_tokens), planner, executor


def played(case: Case, loop: VirtualLoop) -> Seen:
    """The rollout of `case`. Raises whatever the engine raises, and Broken where it leaves something behind."""
    engine, planner, executor = models_of(case)
    options = options_of(case.options)

    async def collect() -> list[Event]:
        return [event async for event in engine.events(case.question, options)]

    loop.begin(MOST_TURNS)
    events = loop.run(collect())
    _nothing_is_left(loop, planner, executor)
    last = events[-1]
    holds(isinstance(last, Finished), "the last event is Finished", last)
    assert isinstance(last, Finished)
    return Seen(case, options, planner.tokenizer, last.rollout, events, planner, executor)


def _nothing_is_left(loop: VirtualLoop, planner: FuzzedModel, executor: FuzzedModel) -> None:
    holds(not loop.left_over(), "no task is left", loop.left_over())
    holds(planner.running == executor.running == 0, "no call is left running", (planner.running, executor.running))


async def left_at(engine: Engine, question: str, options: EngineOptions, index: int) -> bool:
    """Leaves the rollout at event `index`; gives whether it got that far before it was over."""
    async with aclosing(engine.events(question, options)) as events:
        count = 0
        async for _ in events:
            if count == index:
                return True
            count += 1
    return False


def check_cancelled(case: Case, loop: VirtualLoop, index: int) -> None:
    """Leaving a rollout at any event leaves no task and no call."""
    engine, planner, executor = models_of(case)
    loop.begin(MOST_TURNS)
    loop.run(left_at(engine, case.question, options_of(case.options), index))
    _nothing_is_left(loop, planner, executor)
    loop.close()
