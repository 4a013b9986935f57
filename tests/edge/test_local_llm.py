"""The LLM seam over a vLLM engine in process: the laws of the seam, and tokens that come one by one.

The model is tiny and random, so its texts are garbage.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve_app.local_llm import LocalLLM
from serve_app.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMServer
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
