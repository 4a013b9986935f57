"""Laws of prompts and training examples."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings

from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import InputError, ProtocolError
from sprint.options import EngineOptions
from sprint.render import Layout, Prompter, Supervise, branch_opening, training_example, trajectory_text
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import ByteTokenizer, Tokenizer
from sprint.types import Kind, Tokens, Trajectory
from tests.unit.follow import follow
from tests.unit.strategies import JoiningTokenizer, trajectories

SPRINT = ModelCard(Method.SPRINT, Instruction.NONE)


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), JoiningTokenizer()])
@given(trajectory=trajectories())
@settings(max_examples=40)
def test_training_holds_id_for_id_what_the_engine_sends(tokenizer: Tokenizer, trajectory: Trajectory) -> None:
    """The property everything rests on: a model that writes what it was taught makes the context it was taught on."""
    prompter = Prompter(tokenizer, SPRINT)
    text = trajectory_text(trajectory)
    planner = ScriptedLLM(tokenizer, follow(trajectory), chunk_tokens=3)
    rollout = asyncio.run(Engine(planner, planner, prompter, 1 << 20).run("q?", EngineOptions(temperature=0)))
    example = training_example("x", "q?", text, prompter)
    assert rollout.token_ids == example.main.ids
    contexts = {tuple(example.main.ids[: b.attach]) + _unsampled(b.tokens) for b in example.branches}
    executed = {call.prompt_ids for call in planner.calls if not _is_planner(call.prompt_ids, tokenizer)}
    assert executed == contexts


def _unsampled(tokens: Tokens) -> tuple[int, ...]:
    return tuple(id for id, sampled in zip(tokens.ids, tokens.sampled, strict=True) if not sampled)


def _is_planner(ids: tuple[int, ...], tokenizer: Tokenizer) -> bool:
    tail = tokenizer.decode(ids).rpartition("\n<")[2]
    return not tail.startswith("execution_")


@given(trajectory=trajectories())
@settings(max_examples=40)
def test_every_supervised_token_is_one_the_model_samples(trajectory: Trajectory) -> None:
    tokenizer = ByteTokenizer()
    example = training_example("x", "q?", trajectory_text(trajectory), Prompter(tokenizer, SPRINT))
    planner = ScriptedLLM(tokenizer, follow(trajectory))
    engine = Engine(planner, planner, Prompter(tokenizer, SPRINT), 1 << 20)
    rollout = asyncio.run(engine.run("q?", EngineOptions(temperature=0)))
    supervised = sum(example.main.sampled) + sum(sum(branch.tokens.sampled) for branch in example.branches)
    assert supervised == rollout.usage.generated_tokens


@given(trajectory=trajectories())
@settings(max_examples=40)
def test_flat_is_one_sequence_that_supervises_the_executions_too(trajectory: Trajectory) -> None:
    prompter = Prompter(ByteTokenizer(), SPRINT)
    exact = training_example("x", "q?", trajectory_text(trajectory), prompter, Layout.EXACT)
    flat = training_example("x", "q?", trajectory_text(trajectory), prompter, Layout.FLAT)
    assert flat.main.ids == exact.main.ids
    assert not flat.branches
    in_branches = sum(sum(branch.tokens.sampled) for branch in exact.branches)
    assert sum(flat.main.sampled) == sum(exact.main.sampled) + in_branches


@given(trajectory=trajectories())
@settings(max_examples=40)
def test_supervising_all_teaches_the_whole_answer_and_its_end(trajectory: Trajectory) -> None:
    """As the paper trains: every token behind the prompt, the runtime's tags, the closing think tag and the end."""
    tokenizer = ByteTokenizer()
    text, prompter = trajectory_text(trajectory), Prompter(tokenizer, SPRINT)
    flat = training_example("x", "q?", text, prompter, Layout.FLAT)
    whole = training_example("x", "q?", text, prompter, Layout.FLAT, Supervise.ALL)
    head = len(prompter.question_ids("q?"))
    end = (*tokenizer.encode("\n</think>"), tokenizer.eos_id)
    assert whole.main.ids == flat.main.ids + end
    assert whole.main.sampled == (False,) * head + (True,) * (len(whole) - head)
    assert whole.main.ids[head:] == (*tokenizer.encode(text.removeprefix("<think>\n")), tokenizer.eos_id)
    assert whole.main.kinds[: len(flat)] == flat.main.kinds
    assert Kind.NONE not in whole.main.kinds[head:]


def test_supervising_all_changes_nothing_of_a_sequential_example() -> None:
    prompter = Prompter(ByteTokenizer(), ModelCard(Method.RFT, Instruction.NONE))
    some, whole = (
        training_example("x", "q?", "<think>\nhm\n</think>", prompter, Layout.FLAT, supervise)
        for supervise in Supervise
    )
    assert some == whole


def test_a_sequential_example_supervises_everything_after_the_prompt() -> None:
    tokenizer = ByteTokenizer()
    prompter = Prompter(tokenizer, ModelCard(Method.RFT, Instruction.NONE))
    example = training_example("x", "q?", "<think>\nhm\n</think>", prompter)
    taught = [id for id, sampled in zip(example.main.ids, example.main.sampled, strict=True) if sampled]
    assert taught == [*tokenizer.encode("hm\n</think>"), tokenizer.eos_id]
    with pytest.raises(ProtocolError, match="expected '<think>"):
        training_example("x", "q?", "hm", prompter)


def test_the_prompt_ends_with_one_open_think_tag() -> None:
    class Distill(ByteTokenizer):
        def chat(self, content: str) -> str:
            return f"<user>{content}<assistant><think>\n"

    for tokenizer in (ByteTokenizer(), Distill()):
        text = Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.SPRINT)).question_text("why?")
        assert text.count("<think>") == 1
        assert text.endswith("<think>\n")
        assert "<Question>\nwhy?\n</Question>" in text


def test_the_instructions_name_every_tag_they_ask_for() -> None:
    text = Prompter(ByteTokenizer(), ModelCard(Method.SPRINT, Instruction.SPRINT)).question_text("q")
    for tag in (
        "<Plan_p>",
        "</Plan_p>",
        "<prompt_p.k>",
        "<Execution_p>",
        "<execution_p.k>",
        "<Final_answer>",
        "\\boxed{}",
    ):
        assert tag in text


def test_a_card_travels_with_its_model(tmp_path: Path) -> None:
    card = ModelCard(Method.SPRINT, Instruction.NONE, "chains")
    card.save(tmp_path)
    assert ModelCard.load(tmp_path) == card
    assert ModelCard.load(tmp_path / "elsewhere") == ModelCard()
    (tmp_path / "sprint.json").write_text('{"method": "guess"}')
    with pytest.raises(InputError, match="'guess' is not a valid Method"):
        ModelCard.load(tmp_path)


def test_a_branch_begins_with_its_own_tag() -> None:
    assert branch_opening(2, 3) == "\n<execution_2.3>\n"
