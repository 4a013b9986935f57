"""The check of a model that trains: what it counts as well formed, what it refuses, and that it leaves no trace."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from sprint.answers import boxed
from sprint.card import Instruction, Method, ModelCard
from sprint.config import validate
from sprint.engine import Engine
from sprint.errors import ConfigError
from sprint.options import EngineOptions
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from sprint.tasks import Split, get_task
from sprint.tokenizer import ByteTokenizer, HFTokenizer
from sprint.types import Rollout
from tests.edge.tiny_model import make_model, make_tokenizer
from train.config import TrainConfig
from train.format_check import ask, check_settings, is_well_formed, summary

BYTES = ByteTokenizer()
PLAN = "<Plan_1>\n<prompt_1.1> add </prompt_1.1>\n</Plan_1>"
DONE = "1+1=2\n</execution_1.1>"
FINAL = "<Final_answer>\nIt is \\boxed{2}.\n</Final_answer>"


def rollout(plan: str = PLAN, execution: str = DONE, final: str = FINAL, method: Method = Method.SPRINT) -> Rollout:
    """What the engine makes of a model that says this."""

    def script(prompt: str) -> str:
        if method is Method.RFT:
            return final
        if prompt.endswith("<execution_1.1>\n"):
            return execution
        return final if "</Execution_1>" in prompt else plan

    llm = ScriptedLLM(BYTES, script)
    engine = Engine(llm, llm, Prompter(BYTES, ModelCard(method, Instruction.NONE)), 10_000)
    return asyncio.run(engine.run("1+1?", EngineOptions(temperature=0.0, max_tokens=400, max_rounds=2)))


def test_a_text_is_well_formed_when_everything_in_it_was_closed() -> None:
    assert is_well_formed(rollout())
    assert is_well_formed(rollout(method=Method.RFT, final="so \\boxed{2}.\n</think>"))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("final", "<Final_answer>\nIt is two.\n</Final_answer>"),  # nothing boxed
        ("final", "<Final_answer>\nIt is \\boxed{2}."),  # not closed
        ("execution", "1+1=2"),  # ended by the end of the sequence
        ("plan", "<Plan_1>\n<prompt_1.1> add </prompt_1.1>"),
        ("execution", "1+1" * 400),  # runs into the limit
    ],
)
def test_a_text_with_something_left_open_is_not_well_formed(part: str, text: str) -> None:
    said = {"plan": PLAN, "execution": DONE, "final": FINAL} | {part: text}
    assert not is_well_formed(rollout(said["plan"], said["execution"], said["final"]))


def test_the_summary_counts_shares_and_means() -> None:
    task = get_task("countdown")
    problems = list(islice(task.problems(Split.TEST), 2))
    right = rollout(final=f"<Final_answer>\n{boxed(problems[0].answer)}\n</Final_answer>")
    found = summary(task, problems, [right, rollout(execution="1+1=2")])
    assert (found.problems, found.format, found.accuracy) == (2, 0.5, 0.5)
    assert 0 < found.sequential_tokens <= found.generated_tokens


def settings(**values: object) -> TrainConfig:
    return validate(TrainConfig, {"data": "data", "name": "run", **values}, "options")


def test_what_cannot_be_checked_is_refused_before_training() -> None:
    check_settings(settings())
    check_settings(settings(task="countdown", check={"every": 5}))
    with pytest.raises(ConfigError, match=r"check: under zero_stage 3 .* expected zero_stage 0 to 2"):
        check_settings(settings(task="countdown", zero_stage=3, check={"every": 5}))
    with pytest.raises(ConfigError, match="check: unknown task 'sums'"):
        check_settings(settings(task="sums", check={"every": 5}))
    with pytest.raises(ConfigError, match="check: task 'chains' has no option 'depth'"):
        check_settings(settings(check={"every": 5, "task": "chains", "task_options": {"depth": 3}}))


def test_asking_leaves_a_model_as_it_was(tmp_path: Path) -> None:
    hf = make_tokenizer()
    hf.save_pretrained(tmp_path)
    model: Any = make_model(hf).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, attention = torch.get_rng_state(), model.config._attn_implementation
    prompter = Prompter(HFTokenizer(tmp_path), ModelCard(Method.SPRINT, Instruction.NONE))
    found = ask(model, prompter, ["list the tasks", "count"], max_tokens=30)
    assert [made.question for made in found] == ["list the tasks", "count"]
    assert all(0 < made.usage.generated_tokens <= 30 for made in found)
    assert model.training
    assert model.config._attn_implementation == attention
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
