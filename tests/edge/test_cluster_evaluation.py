"""Evaluation in batches on two machines, one of which dies: every problem is answered, none twice, and as before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sprint.card import Instruction, Method, ModelCard
from sprint.evals.results import Result, read_results
from sprint.files import write_jsonl
from tests.edge.cluster_nodes import Cluster, Job, cluster
from tests.edge.tiny_model import save_tiny_model

PROBLEMS, HIT_AFTER = 40, 6
ENGINE = {"replicas": 2, "num_cpus": 1, "context_tokens": 512, "batch_size": 2, "in_flight": 2}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster("gpu", "gpu", "curation", cpus=1) as made:  # one engine fills a node
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and problems to ask it."""
    folder: Path = tmp_path_factory.mktemp("evaluation")
    save_tiny_model(folder / "tiny")
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder / "tiny")
    rows = [{"id": str(i), "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(PROBLEMS)]
    write_jsonl(folder / "problems.jsonl", rows)
    return folder


def submitted(nodes: Cluster, folder: Path, name: str) -> Job:
    engine = ENGINE | {"model": folder / "tiny"}
    words = [word for key, value in engine.items() for word in ("--engine", f"{key}={value}")]
    words += ["--data", str(folder / "problems.jsonl"), "--out", str(folder / f"{name}.jsonl"), "--max-tokens", "60"]
    words += ["--batch", "--method", "sprint", "--nodes", "sprint/pool=gpu"]
    return nodes.submit([sys.executable, "-m", "sprint.cli", "evaluate", *words], name)


def answered(folder: Path, name: str) -> int:
    path = folder / f"{name}.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def words(result: Result) -> tuple[object, ...]:
    """What does not hang on clocks."""
    assert result.usage is not None
    return result.id, result.found, result.reasoning, result.usage.generated_tokens


def test_a_machine_that_dies_costs_no_answer(nodes: Cluster, folder: Path) -> None:
    submitted(nodes, folder, "whole").end()
    job = submitted(nodes, folder, "hit")
    job.until(lambda: answered(folder, "hit") >= HIT_AFTER)
    nodes.nodes["node2"].kill()
    nodes.add("gpu", 1)
    job.end()
    results = read_results(folder / "hit.jsonl")
    assert [result.id for result in results] == [str(i) for i in range(PROBLEMS)]
    assert list(map(words, results)) == list(map(words, read_results(folder / "whole.jsonl")))
