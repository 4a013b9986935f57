"""Curation on a cluster, one of whose machines dies: every row comes out, as an undisturbed run makes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from sprint.tasks import Split, get_task
from tests.edge.cluster_nodes import Cluster, Job, cluster

ROWS = 6000
CURATE = [sys.executable, "-m", "sprint.cli", "curate"]
SMALL = ["--rows-per-task", "100", "--cpus-per-task", "1", "--checkpoint-s", "0.5", "--nodes", "sprint/pool=curation"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster("curation", "curation", "gpu") as made:
        yield made


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows good and bad: some have no answer, so that there is something to drop as well."""
    task = get_task("chains", num_chains=6)
    names = ("id", "question", "reasoning", "answer", "response")
    found = map(task.teach, islice(task.problems(Split.TRAIN), ROWS))
    rows = [{name: getattr(trace, name) for name in names} for trace in found]
    for row in rows[::7]:
        row["response"] = "\\boxed{no}"
    path: Path = tmp_path_factory.mktemp("traces") / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def submitted(nodes: Cluster, traces: Path, out: Path) -> Job:
    return nodes.submit([*CURATE, str(traces), "--out", str(out), *SMALL], out.name)


def recorded(out: Path) -> int:
    """How many pieces of the record are there."""
    return len(list(out.glob("**/*.parquet")))


def result(out: Path) -> tuple[list[dict[str, object]], list[dict[str, object]], list[str]]:
    import pyarrow.parquet as pq

    dropped = (out / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    return pq.read_table(out / "sprint").to_pylist(), pq.read_table(out / "rft").to_pylist(), dropped


def test_a_machine_that_dies_costs_no_row(nodes: Cluster, traces: Path, tmp_path: Path) -> None:
    whole = submitted(nodes, traces, tmp_path / "whole")
    whole.end()
    job = submitted(nodes, traces, tmp_path / "hit")
    job.until(lambda: recorded(tmp_path / "hit") >= 2)
    nodes.nodes["node1"].kill()
    job.end()
    kept, rft, dropped = result(tmp_path / "hit")
    assert (kept, rft, dropped) == result(tmp_path / "whole")
    assert len(kept) + len(dropped) == ROWS
    assert len(kept) == len(rft)
