"""Curation as a job on a cluster of several nodes, sent by `sprint submit` as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from sprint.tasks import Split, get_task
from tests.edge.cluster_nodes import BIN, PATIENCE_S, ROOT, Cluster, cluster

NUM_ROWS = 400
SECRET = "a-key-that-nobody-may-read"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster("curation", "curation", "gpu", cpus=1) as made:
        yield made


def _submit(nodes: Cluster, *words: str) -> list[str]:
    given = [sys.executable, "-m", "sprint.cli", "submit", "--address", nodes.dashboard, "--python", sys.executable]
    return [*given, *words]


def _run(nodes: Cluster, *words: str, **values: str) -> subprocess.CompletedProcess[str]:
    environment = nodes.environment | {"SPRINT_TEST_KEY": SECRET} | values
    return subprocess.run(
        _submit(nodes, *words), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def _write_traces(path: Path) -> list[str]:
    """Traces that are all kept; their ids."""
    task = get_task("chains", num_chains=6)
    names = ("id", "question", "reasoning", "answer", "response")
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), NUM_ROWS)]
    path.write_text("\n".join(json.dumps({name: getattr(trace, name) for name in names}) for trace in traces))
    return [trace.id for trace in traces]


def _pools_of(task: str, nodes: Cluster) -> dict[str, int]:
    """On how many nodes of each pool tasks of this name ran."""
    code = f"""
import json, ray
from collections import Counter
from ray.util.state import list_tasks
ray.init(address={nodes.address!r}, log_to_driver=False)
tasks = list_tasks(address={nodes.dashboard!r}, filters=[("name", "=", {task!r})], limit=10_000, detail=True)
labels = {{node["NodeID"]: node["Labels"].get("sprint/pool", "head") for node in ray.nodes()}}
print("pools", json.dumps(Counter(labels[node] for node in {{task["node_id"] for task in tasks}})))
"""
    said = nodes.run([sys.executable, "-c", code])
    found = [line.partition(" ")[2] for line in said.stdout.splitlines() if line.startswith("pools ")]
    assert found, said.stderr[-2000:]
    return dict(json.loads(found[0]))


def test_a_job_that_failed_is_tried_again_under_its_name_on_the_nodes_it_asks_for(
    nodes: Cluster, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    traces, out = tmp_path / "in.jsonl", tmp_path / "out"
    words = ["--name", "cur", "--env", "SPRINT_TEST_KEY", "curate", str(traces), "--out", str(out)]
    words += ["--nodes", "sprint/pool=curation", "--rows-per-task", "20", "--cpus-per-task", "1"]
    missing = _run(nodes, *words)
    assert missing.returncode == 2, missing.stderr
    assert "error: " in missing.stdout
    assert "job cur failed" in missing.stderr
    ids = _write_traces(traces)
    done = _run(nodes, *words)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "--submission-id cur.2" in done.stderr
    assert "begins anew" in done.stdout
    assert f"{NUM_ROWS}" in done.stdout
    assert SECRET not in missing.stdout + missing.stderr + done.stdout + done.stderr
    assert [row["id"] for row in pq.read_table(out / "sprint").to_pylist()] == ids
    assert _pools_of("MapBatches(curate_by_rules)", nodes) == {"curation": 2}
    again = _run(nodes, *words)
    assert again.returncode == 2
    assert again.stderr == "error: job cur.2 has done its work, expected another name\n"


def test_a_cluster_that_wants_a_token_says_so_in_a_sentence(nodes: Cluster, tmp_path: Path) -> None:
    words = ["curate", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out")]
    without = _run(nodes, *words, RAY_AUTH_MODE="disabled")
    wrong = _run(nodes, *words, RAY_AUTH_TOKEN="0" * 64)
    assert (without.returncode, wrong.returncode) == (2, 2)
    assert without.stderr.startswith(f"error: {nodes.dashboard} asks for a token, expected RAY_AUTH_MODE=token")
    assert wrong.stderr.startswith(f"error: {nodes.dashboard} refuses the token of this environment")


@pytest.mark.slow
def test_an_interruption_leaves_the_job_running_and_says_how_to_follow_and_end_it(
    nodes: Cluster, tmp_path: Path
) -> None:
    traces, out = tmp_path / "in.jsonl", tmp_path / "out"
    _write_traces(traces)
    # No node has this label, so the job waits, and says what for.
    words = ["--name", "patient", "curate", str(traces), "--out", str(out), "--nodes", "sprint/pool=nowhere"]
    with subprocess.Popen(
        _submit(nodes, *words),
        cwd=ROOT,
        env=nodes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "waiting for nodes" in line)
        assert "on nodes with sprint/pool=nowhere, and the cluster has no such node yet" in line
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "job patient goes on: follow it with `ray job logs" in said
    second = _run(nodes, *words)
    assert second.returncode == 2
    assert "job patient has not ended" in second.stderr
    stop = [str(BIN / "ray"), "job", "stop", "--address", nodes.dashboard, "patient"]
    stopped = subprocess.run(stop, env=os.environ | nodes.environment, capture_output=True, timeout=120, check=False)
    assert stopped.returncode == 0, stopped.stderr
    label = ["--name", "patient", "curate", str(traces), "--out", str(out), "--nodes", "sprint/pool=curation"]
    assert _run(nodes, *label, "--rows-per-task", "50").returncode == 0
