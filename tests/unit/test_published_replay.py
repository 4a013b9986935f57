"""The published outputs of the authors' model, said again by a scripted one, come out of the engine as they went in."""

from __future__ import annotations

import asyncio
import json
import re
from functools import lru_cache
from pathlib import Path

import pytest

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import ProtocolError
from sprint.options import Dispatch, EngineOptions
from sprint.render import Prompter, trajectory_text
from sprint.scripted import Script, ScriptedLLM
from sprint.tags import parse
from sprint.tokenizer import ByteTokenizer, TiktokenTokenizer, Tokenizer
from sprint.types import ExecutionOutcome, Rollout, StopReason, Trajectory
from tests.unit.follow import follow

_PLAN_END = re.compile(r"</Plan_\d+>")
_CHUNK_TOKENS = {"bytes": 64, "qwen": 7}
_EVERY = {"bytes": 4, "qwen": 1}  # bytes are many, and so slow
# One output forgets to close its plan and begins to execute by itself; the runtime then executed the plan as it stood.
# The engine ends such a plan before the tag that is not the planner's to write, and drops the text from there on.
_IRREGULAR = "sprint-test_prealgebra_1787"
_SLIP = "<execution_3.1>\nFirst, 4 5/8"


@lru_cache
def _tokenizer(name: str, data: Path) -> Tokenizer:
    return ByteTokenizer() if name == "bytes" else TiktokenTokenizer(data / "tokenizer" / "qwen.tiktoken")


@lru_cache
def _published(data: Path) -> dict[str, str]:
    path = data / "reference" / "published_sprint_outputs.jsonl"
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["reasoning"] for row in rows}


def _turn_by_turn(script: Script) -> Script:
    """The same, but a planner's turn goes only a little beyond its plan: what the engine would not read costs time."""

    def said(prompt: str) -> str:
        text = script(prompt)
        end = _PLAN_END.search(text)
        return text if end is None else text[: end.end() + 20]

    return said


def _said(script: Script, tokenizer: Tokenizer, dispatch: Dispatch, chunk_tokens: int) -> Rollout:
    llm = ScriptedLLM(tokenizer, _turn_by_turn(script), chunk_tokens=chunk_tokens)
    engine = Engine(llm, llm, Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.NONE)), 1 << 20)
    options = EngineOptions(temperature=0, dispatch=dispatch, max_tokens=1 << 20, max_plan_tokens=1 << 20,
                            max_execution_tokens=1 << 20)  # fmt: skip
    return asyncio.run(engine.run("q?", options))


def _is_replayed(rollout: Rollout, trajectory: Trajectory, text: str) -> None:
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.trajectory == trajectory
    assert rollout.text == text
    executions = [execution for round in rollout.trajectory.rounds for execution in round.executions]
    assert all(execution.outcome is ExecutionOutcome.COMPLETED for execution in executions)
    assert rollout.usage.num_rounds == len(trajectory.rounds)
    assert rollout.usage.num_executions == len(executions)


@pytest.mark.parametrize("dispatch", list(Dispatch))
@pytest.mark.parametrize("name", ["bytes", "qwen"])
def test_a_published_output_is_replayed_to_the_letter(reference_data: Path, name: str, dispatch: Dispatch) -> None:
    tokenizer = _tokenizer(name, reference_data)
    published = {id: text for id, text in _published(reference_data).items() if id != _IRREGULAR}
    assert len(published) == 59
    for text in list(published.values())[:: _EVERY[name]]:
        trajectory = parse(text)
        assert trajectory_text(trajectory) == text
        _is_replayed(_said(follow(trajectory), tokenizer, dispatch, _CHUNK_TOKENS[name]), trajectory, text)


@pytest.mark.parametrize("dispatch", list(Dispatch))
@pytest.mark.parametrize("name", ["bytes", "qwen"])
def test_the_irregular_one_is_cut_before_its_slip_and_goes_on(
    reference_data: Path, name: str, dispatch: Dispatch
) -> None:
    text = _published(reference_data)[_IRREGULAR]
    with pytest.raises(ProtocolError, match=r"</Plan_3> is missing before <execution_3\.1>"):
        parse(text)
    start = text.index(_SLIP)
    mended = text[:start] + text[text.index("\n</Plan_3>", start) :]
    trajectory = parse(mended)
    as_taught, opening = follow(trajectory), text.index("<Plan_3>")

    def script(prompt: str) -> str:
        return text[opening:] if prompt.endswith(text[opening - 40 : opening]) else as_taught(prompt)

    rollout = _said(script, _tokenizer(name, reference_data), dispatch, _CHUNK_TOKENS[name])
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.text == mended
    assert rollout.answer_text == trajectory.final_answer
