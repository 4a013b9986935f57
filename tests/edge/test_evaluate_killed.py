"""Evaluation as a user runs it: a command that is interrupted or killed while answers come, and then --resume.

Both forms, over HTTP and --batch, on the real vLLM with a tiny random model: what comes out is what an undisturbed run
gives, but for its clocks (and over HTTP for what the server's prefix cache happened to hold).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sprint.card import Instruction, Method, ModelCard
from sprint.steps import ENVIRONMENT
from tests.edge.serving import ROOT, served

pytestmark = pytest.mark.slow  # commands that start and end, several times each

NUM_PROBLEMS, MAX_TOKENS, ENOUGH = 24, 64, 5
PATIENCE_S = 240.0  # an engine starts in a fraction of that, but the machine may be busy
Words = list[str]


@pytest.fixture(scope="module")
def card(folder: Path) -> None:
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder)


@pytest.fixture(scope="module", params=["http", "batch"])
def words(request: pytest.FixtureRequest, folder: Path, card: None) -> Iterator[Words]:
    """The options of one form, its server running."""
    asked = ["--task=chains", f"--n={NUM_PROBLEMS}", f"--max-tokens={MAX_TOKENS}", "--method=sprint"]
    if request.param == "batch":
        engine = [f"model={folder}", "context_tokens=2048", "batch_size=2", "in_flight=4"]
        yield [*asked, "--batch", *(f"--engine={value}" for value in engine)]
    else:
        with served(folder, context_tokens=2048) as service:
            yield [*asked, f"--base-url={service.url}/v1", "--concurrency=2"]


@pytest.fixture(scope="module")
def undisturbed(words: Words, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("undisturbed") / "run.jsonl"
    assert run(words, out) == 0
    return rows(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_was_ended_goes_on_to_the_same_file(
    words: Words, undisturbed: list[dict[str, Any]], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run.jsonl"
    log = ended(words, out, number)
    assert number is signal.SIGKILL or log.splitlines()[-1] == "interrupted"
    assert ENOUGH <= len(whole_lines(out)) < NUM_PROBLEMS
    before = whole_lines(out)
    assert run([*words, "--resume"], out) == 0
    assert set(before) <= set(whole_lines(out))
    assert rows(out) == undisturbed
    assert len({row["id"] for row in rows(out)}) == NUM_PROBLEMS


def run(words: Words, out: Path) -> int:
    """Runs the command to its end; its exit code."""
    return subprocess.run(_command(words, out), cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL).returncode


def ended(words: Words, out: Path, number: signal.Signals) -> str:
    """Sends the command a signal once some answers are there; what it said."""
    log = out.with_suffix(".log")
    with log.open("wb") as file:
        child = subprocess.Popen(
            _command(words, out),
            cwd=ROOT,
            env=_environment(),
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=_heed_interruption,
        )
    deadline = time.monotonic() + PATIENCE_S
    while len(whole_lines(out)) < ENOUGH and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(number)
    assert child.wait(PATIENCE_S) == (130 if number is signal.SIGINT else -number)
    return log.read_text()


def _heed_interruption() -> None:
    """A shell's background job ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _command(words: Words, out: Path) -> Words:
    return [sys.executable, "-m", "sprint.cli", "evaluate", *words, f"--out={out}"]


def _environment() -> dict[str, str]:
    return ENVIRONMENT | {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def whole_lines(out: Path) -> list[bytes]:
    return [line for line in out.read_bytes().splitlines(True) if line.endswith(b"\n")] if out.exists() else []


def rows(out: Path) -> list[dict[str, Any]]:
    """The results, without what may differ."""
    return [_timeless(json.loads(line)) for line in whole_lines(out)]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if not k.endswith("_s") and "cached" not in k}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
