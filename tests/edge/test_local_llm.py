"""The LLM seam over a vLLM engine in process: the laws of the seam, and tokens that come one by one.

The model is tiny and random, so its texts are garbage.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve_app.pools.local_llm import LocalLLM
from serve_app.pools.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMServer
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.options import EngineOptions, Mode
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import HFTokenizer
from tests.edge.tiny_model import CONTEXT_TOKENS, ENDING, ENDLESS, save_tiny_model
from tests.llm_contract import GREEDY, LAWS, Subject


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the whole module: vLLM's front end is bound to the loop of its first call."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Iterator[Subject]:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    args = {"model": str(folder), "max_model_len": CONTEXT_TOKENS, "kv_cache_memory_bytes": 64 << 20}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | CPU_ENVIRONMENT).items():
            patch.setenv(name, value)
        before = set(_workers())
        server = VLLMServer(CPU_ENGINE | args | {"disable_log_stats": True}, least_chunk_tokens=1)
        tokenizer = HFTokenizer(folder)
        yield Subject(
            LocalLLM(server),
            tokenizer,
            tokenizer.encode(ENDLESS),
            tokenizer.encode(ENDING),
            CONTEXT_TOKENS,
            server.num_unfinished,
        )
        started = set(_workers()) - before
        server.shutdown()
    assert started, "the engine has no process"
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == [], "processes were left behind"


def _workers() -> list[psutil.Process]:
    """Our child processes, less the one that Python itself keeps until the end."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_an_engine_in_process_keeps_the_contract_of_the_seam(
    subject: Subject, runner: asyncio.Runner, law: Any
) -> None:
    runner.run(law(subject))


def test_a_lone_call_gives_every_token_at_once(subject: Subject, runner: asyncio.Runner) -> None:
    chunks = runner.run(subject.ask(GREEDY))
    sizes = [len(chunk.token_ids) for chunk in chunks]
    assert sum(sizes) == GREEDY.max_tokens
    assert sizes.count(1) > len(sizes) / 2  # the front end joins tokens only when it was late for one


# --- a rollout that is given up ---------------------------------------------------------------------------------------

PLAN = "<Plan_1>\n" + "\n".join(prompt(1, k, f"list part {k}") for k in range(1, 4)) + "\n</Plan_1>"
ENDLESS_OPTIONS = EngineOptions(temperature=0.0, max_execution_tokens=8000, repetition_tokens=None)


def _planner(context: str) -> str:
    return PLAN if context.endswith("<think>\n") else "<Final_answer>\n\\boxed{1}\n</Final_answer>"


async def _given_up_at(subject: Subject, index: int, mode: Mode) -> int:
    """Leaves a rollout at an event; how many calls the engine was working on just before."""
    planner = subject.llm if mode is Mode.SEQUENTIAL else ScriptedLLM(subject.tokenizer, _planner, token_s=0.002)
    prompter = Prompter(subject.tokenizer, ModelCard(Method.SPRINT, Instruction.NONE))
    engine = Engine(planner, subject.llm, prompter, CONTEXT_TOKENS)
    async with aclosing(engine.events("list", replace(ENDLESS_OPTIONS, mode=mode))) as events:
        count = 0
        async for _ in events:
            count += 1
            if count > index:
                break
        return await subject.active()


@pytest.mark.parametrize("mode", [Mode.PARALLEL, Mode.SEQUENTIAL])
def test_a_rollout_given_up_at_any_event_leaves_nothing_running_on_the_engine(
    subject: Subject, runner: asyncio.Runner, mode: Mode
) -> None:
    async def give_up() -> list[int]:
        before = []
        for index in (*range(12), 20, 40, 80, 120):
            before.append(await _given_up_at(subject, index, mode))
            async with asyncio.timeout(1):
                while await subject.active():
                    await asyncio.sleep(0.01)
        return before

    running = runner.run(give_up())
    assert max(running) >= (3 if mode is Mode.PARALLEL else 1)  # there was something to cancel
