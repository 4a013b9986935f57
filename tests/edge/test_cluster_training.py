"""Training on two machines, one of which dies: a third takes its place, and the loss curve is the undisturbed run's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sprint.files import read_jsonl
from tests.edge.cluster_nodes import Cluster, Job, cluster
from tests.edge.learning import write_beginning
from tests.edge.test_train import example

STEPS, HIT_AFTER = 40, 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster("training", "training", "curation", cpus=1) as made:  # one worker fills a node
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated set, and a model with dropout to start from, so that the random numbers matter."""
    folder: Path = tmp_path_factory.mktemp("training")
    start = write_beginning(folder, [example(i) for i in range(24)])
    shape = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(shape | {"attention_dropout": 0.1}))
    return folder


def submitted(nodes: Cluster, folder: Path, name: str) -> Job:
    config = {
        "start": str(folder / "start"),
        "out": str(folder / "runs"),
        "instruction": "none",
        "learning_rate": 3e-3,
        "precision": "fp32",
        "batch_tokens": 200,
        "max_steps": STEPS,
        "log_every": 1,
        "checkpoint_every": 2,
        "workers": 2,
        "max_failures": 3,
        "nodes": {"sprint/pool": "training"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config))
    words = [sys.executable, "-m", "sprint.cli", "train", str(folder / "data"), "--name", name, "--config", str(path)]
    return nodes.submit(words, name)


def curve(folder: Path, name: str) -> list[tuple[object, ...]]:
    path = folder / "runs" / name / "metrics.jsonl"
    lines = list(read_jsonl(path)) if path.exists() else []
    return [(line["step"], line["loss"], line["learning_rate"], line["tokens"]) for line in lines]


def test_a_machine_that_dies_changes_no_step(nodes: Cluster, folder: Path) -> None:
    submitted(nodes, folder, "whole").end()
    whole = curve(folder, "whole")
    assert [line[0] for line in whole] == list(range(1, STEPS + 1))
    job = submitted(nodes, folder, "hit")
    job.until(lambda: len(curve(folder, "hit")) > HIT_AFTER)
    nodes.nodes["node2"].kill()
    nodes.add("training", 1)
    job.end()
    assert curve(folder, "hit") == whole
    assert (folder / "runs" / "hit" / "model" / "model.safetensors").exists()
