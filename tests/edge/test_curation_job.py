"""Curation as a job on a cluster: two nodes started by hand on this machine, the work sent by `ray job submit`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import psutil
import pytest

from sprint.tasks import Split, get_task

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")
NODE = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--include-log-monitor=false"]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    ports = [int(found.getsockname()[1]) for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _node(words: Sequence[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A node in the foreground, so that it ends when it is told to."""
    with log.open("wb") as file:
        return subprocess.Popen([RAY, "start", "--block", *words, *NODE], stdout=file, stderr=file, env=environment)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The dashboard's address of a cluster of two nodes."""
    head_port, dashboard, agent = _free_ports(3)
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    environment.pop("RAY_ADDRESS", None)
    head = ["--head", f"--port={head_port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    nodes = [_node([*head, "--include-dashboard=true"], environment, tmp_path / "head.log")]
    address = f"127.0.0.1:{head_port}"
    try:
        _wait_for_nodes(address, 1, environment)
        nodes.append(_node([f"--address={address}"], environment, tmp_path / "worker.log"))
        _wait_for_nodes(address, 2, environment)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        for node in nodes:
            _stop(node)


def _stop(node: subprocess.Popen[bytes]) -> None:
    family = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
    for process in family:
        process.terminate()
    for process in psutil.wait_procs(family, timeout=3)[1]:
        process.kill()
    node.wait()


def _wait_for_nodes(address: str, count: int, environment: dict[str, str]) -> None:
    code = f"""
import time, ray
ray.init(address={address!r}, log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < {count}:
    time.sleep(0.2)
"""
    for _ in range(20):
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False
        )
        if not found.returncode:
            return
    raise AssertionError(found.stderr.decode()[-2000:])


def _submit(dashboard: str, words: Sequence[str]) -> str:
    """Output of a job. A dashboard that has just started may have no agent yet, so it is tried again."""
    command = [RAY, "job", "submit", "--address", dashboard, "--working-dir", str(ROOT), "--", *words]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    for _ in range(10):
        found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        if found.returncode == 0 or "No available agent" not in found.stdout + found.stderr:
            break
    assert found.returncode == 0, (found.stdout + found.stderr)[-3000:]
    return found.stdout


def _nodes_of(task: str, dashboard: str) -> set[str]:
    """The nodes on which tasks of this name ran."""
    from ray.util.state import list_tasks

    found = list_tasks(address=dashboard, filters=[("name", "=", task)], limit=10_000, detail=True)
    return {entry["node_id"] for entry in found}


def test_a_job_curates_on_both_nodes(cluster: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    task = get_task("chains", num_chains=6)
    names = ("id", "question", "reasoning", "answer", "response")
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), 400)]
    lines = [json.dumps({name: getattr(trace, name) for name in names}) for trace in traces]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = [sys.executable, "-m", "sprint.cli", "curate", str(tmp_path / "in.jsonl")]
    said = _submit(cluster, [*words, "--out", str(tmp_path / "out"), "--rows-per-task", "20", "--cpus-per-task", "1"])
    assert re.search(r"kept\W+400", said)
    rows = pq.read_table(tmp_path / "out" / "sprint").to_pylist()
    assert [row["id"] for row in rows] == [trace.id for trace in traces]
    assert len(_nodes_of("MapBatches(curate_by_rules)", cluster)) == 2
