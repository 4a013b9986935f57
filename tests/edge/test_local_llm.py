"""The LLM seam over a vLLM engine in process: the laws of the seam, and tokens that come one by one.

The model is tiny and random, so its texts are garbage.
"""

import asyncio
import pickle
import random
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import AutoModelForCausalLM

from serve_app.pools.continuation import Continuation
from serve_app.pools.local_llm import LocalLLM
from serve_app.pools.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMServer
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.errors import InputError
from sprint.llm import Chunk, FinishReason, Sampling
from sprint.options import EngineOptions, Mode
from sprint.render import Prompter
from sprint.scripted import ScriptedLLM
from sprint.tags import prompt
from sprint.tokenizer import HFTokenizer
from tests.edge.engine_logprobs import asked_everywhere, assert_probable
from tests.edge.tiny_model import CONTEXT_TOKENS, ENDING, ENDLESS, save_tiny_model
from tests.llm_contract import GREEDY, LAWS, Subject, ids, text
from tests.parity import LEAKS, laid, random_trajectory, training_logits
from train.options import Attention


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the whole module: vLLM's front end is bound to the loop of its first call."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Iterator[Subject]:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder, sharpness=0.1)  # so that log-probabilities can be compared to 1e-4
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


def _server(subject: Subject) -> VLLMServer:
    assert isinstance(subject.llm, LocalLLM)
    return subject.llm._server


def test_tokens_that_are_wanted_singly_come_singly_before_the_rest_is_gathered(
    subject: Subject, runner: asyncio.Runner
) -> None:
    async def run() -> None:
        sampling, server = replace(GREEDY, chunk_tokens=64, watched=False), _server(subject)
        async with aclosing(server.generate(subject.prompt_ids, sampling, singly_chars=20)) as messages:
            chunks = [chunk async for chunk in messages]
        at = next(n for n in range(len(chunks)) if len(text(chunks[:n])) >= 20)
        assert {len(chunk.token_ids) for chunk in chunks[:at]} == {1}
        assert len(chunks) < GREEDY.max_tokens / 2 + at
        whole = await subject.ask(GREEDY)
        assert (ids(chunks), text(chunks)) == (ids(whole), text(whole))

    runner.run(run())


def test_a_call_cut_anywhere_in_a_stop_string_goes_on_as_if_it_had_not_been_cut(
    subject: Subject, runner: asyncio.Runner
) -> None:
    async def cut(sampling: Sampling, tokens: int) -> tuple[tuple[int, ...], str, FinishReason | None]:
        call, taken = Continuation(subject.prompt_ids, sampling), list[Chunk]()
        for most in (tokens, sampling.max_tokens):
            if call.finished:  # the last tokens came joined
                break
            asked, server = call.attempt(), _server(subject)
            stream = server.generate(call.prompt_ids, asked, singly_chars=call.singly_chars)
            async with aclosing(stream):
                async for chunk in stream:
                    taken.append(call.take(chunk))
                    if call.finished or sum(map(len, (chunk.token_ids for chunk in taken))) >= most:
                        break
        return ids(taken), text(taken), taken[-1].finish_reason

    async def run() -> None:
        written = text(await subject.ask(GREEDY))
        for start in (5, 9, 14):
            sampling = replace(GREEDY, stop=("Not written", written[start : start + 8]))
            calm = await subject.ask(sampling)
            assert calm[-1].finish_reason is FinishReason.STOP
            for tokens in range(1, len(ids(calm))):
                assert await cut(sampling, tokens) == (ids(calm), text(calm), FinishReason.STOP)

    runner.run(run())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ("",)}, "stop"),
    ],
)
def test_a_value_that_cannot_be_sampled_with_is_an_input_error_that_names_it(
    subject: Subject, runner: asyncio.Runner, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError, match=field) as raised:
        runner.run(subject.ask(replace(GREEDY, **values)))
    assert pickle.loads(pickle.dumps(raised.value)).field == field
    assert "(parameter=" not in str(raised.value)
    assert runner.run(subject.active()) == 0


def test_what_the_engine_itself_refuses_is_an_input_error_too(subject: Subject, runner: asyncio.Runner) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        runner.run(subject.ask(GREEDY, [10_000_000]))
    assert runner.run(subject.active()) == 0


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1, 2**80])
def test_any_whole_number_is_a_seed(subject: Subject, runner: asyncio.Runner, seed: int) -> None:
    seeded = replace(GREEDY, temperature=1.0, seed=seed)
    first, second = (runner.run(subject.ask(seeded)) for _ in range(2))
    assert ids(first) == ids(second)


# --- what training teaches --------------------------------------------------------------------------------------------


def test_training_gives_each_token_the_probability_that_the_engine_gives_it(
    subject: Subject, runner: asyncio.Runner
) -> None:
    """Layout `exact`, packed, against the engine loop's own prompts; the same check finds out what leaks."""
    engine, rng = _server(subject)._engine, random.Random(0)
    model = AutoModelForCausalLM.from_pretrained(engine.vllm_config.model_config.model).eval()
    row, calls = laid(subject.tokenizer, [random_trajectory(rng, *prompts) for prompts in ((2, 0), (6,))])
    expected = runner.run(asked_everywhere(engine, calls))
    assert_probable(training_logits(model, row, Attention.DENSE), expected)
    for leak in LEAKS:
        with pytest.raises(AssertionError, match="log-probabilities differ"):
            assert_probable(training_logits(model, leak(row), Attention.DENSE), expected)


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
