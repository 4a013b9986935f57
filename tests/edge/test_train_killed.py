"""Killed at random again and again, workers five times, the job twice: the loss curve is the uninterrupted one's.

Minutes long, so it is run by `make test-slow`; `test_train.py` holds the same law with one dead worker and one stop.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.edge.killing import make_plan
from tests.edge.learning import write_beginning
from tests.edge.test_train import example
from train.checkpoints import whole_checkpoints

STEPS, WORKER_KILLS, DRIVER_KILLS = 30, 5, 2

Lines = list[dict[str, object]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated set, and a model with dropout to start from, so that the random numbers matter."""
    folder = tmp_path_factory.mktemp("resume")
    rows = [example(i) for i in range(24)]
    start = write_beginning(folder, rows)
    shape = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(shape | {"attention_dropout": 0.1}))
    return folder


def settings(folder: Path, name: str, **values: object) -> dict[str, object]:
    told: dict[str, object] = {
        "data": str(folder / "data"),
        "start": str(folder / "start"),
        "out": str(folder / "runs"),
        "name": name,
        "instruction": "none",
        "optimizer": "muon",
        "learning_rate": 3e-3,
        "precision": "fp32",
        "batch_tokens": 200,
        "max_steps": STEPS,
        "log_every": 1,
        "checkpoint_every": 2,
        "max_failures": WORKER_KILLS,
    }
    return told | values


def started(folder: Path, plan: Path, told: dict[str, object]) -> subprocess.Popen[bytes]:
    path = folder / "settings.json"
    path.write_text(json.dumps(told))
    command = [sys.executable, "-m", "tests.edge.killing", str(path), str(plan)]
    root = Path(__file__).parents[2]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(command, cwd=root, stdout=said, stderr=said, env=os.environ | {"PYTHONPATH": str(root)})


def lines(folder: Path, name: str) -> Lines:
    path = folder / "runs" / name / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def curve(folder: Path, name: str) -> list[tuple[object, ...]]:
    return [(line["step"], line["loss"], line["learning_rate"], line["tokens"]) for line in lines(folder, name)]


def wait_for(folder: Path, name: str, step: int, driver: subprocess.Popen[bytes]) -> None:
    while max((int(str(line["step"])) for line in lines(folder, name)), default=0) < step:
        assert driver.poll() is None, (folder / "said.txt").read_text()[-3000:]
        time.sleep(0.05)


@pytest.mark.slow
def test_however_often_it_is_killed_the_curve_is_the_same(folder: Path) -> None:
    chance = random.Random(os.environ.get("SPRINT_SEED") or None)
    steps = chance.sample(range(1, STEPS), WORKER_KILLS + DRIVER_KILLS)
    kills = {step: chance.randrange(2) for step in steps[:WORKER_KILLS]}
    stops = sorted(steps[WORKER_KILLS:])
    print(f"workers die before steps {kills}, the job after steps {stops}")
    whole = started(folder, make_plan(folder / "none", {}), settings(folder, "whole"))
    assert whole.wait() == 0, (folder / "said.txt").read_text()[-3000:]
    plan = make_plan(folder / "plan", kills)
    for at in stops:
        driver = started(folder, plan, settings(folder, "harried", resume=True))
        wait_for(folder, "harried", at, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    last = started(folder, plan, settings(folder, "harried", resume=True))
    assert last.wait() == 0, (folder / "said.txt").read_text()[-3000:]
    assert not list(plan.iterdir())
    assert curve(folder, "harried") == curve(folder, "whole")
    assert [one.step for one in whole_checkpoints(folder / "runs" / "harried")] == [STEPS - 2, STEPS]
