"""A curation that is killed and gone on with: nothing is lost, written twice, or different in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import CurateConfig
from pipelines.record.checkpoint import done
from pipelines.record.store import Store
from pipelines.run import curate
from sprint.config import validate
from sprint.curate import CurationOptions
from sprint.dialogue import DialogueOptions
from sprint.errors import InputError
from sprint.tasks import Split, get_task
from tests.edge.annotating_model import model
from tests.edge.misbehaving import MODEL, Fault, Faults, MisbehavingServer

KILLS = int(os.environ.get("SPRINT_TEST_KILLS", "3"))
NUM_ROWS = 240
FAULTS = Faults(rates={Fault.SERVER_ERROR: 0.05, Fault.TRUNCATED_JSON: 0.05, Fault.DISCONNECT: 0.05})


def _write_traces(path: Path) -> list[dict[str, Any]]:
    """Good rows, a few that are dropped, and a few duplicates."""
    task = get_task("chains", num_chains=6)
    names = ("id", "question", "reasoning", "answer", "response")
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), NUM_ROWS)]
    rows = [{name: getattr(trace, name) for name in names} for trace in traces]
    for row in rows[::17]:
        row["answer"] = "99999"
    rows[100] = rows[3] | {"id": "again"}
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return rows


def _command(traces: Path, out: Path, url: str) -> list[str]:
    endpoint = [f"base_url={url}", f"model={MODEL}", "backoff_s=0.05", "concurrency=8"]
    words = [sys.executable, "-m", "sprint.cli", "curate", str(traces), "--out", str(out), "--annotator", "openai"]
    words += [word for pair in endpoint for word in ("--endpoint", pair)]
    return [*words, "--checkpoint-s", "0.2", "--rows-per-task", "4", "--num-cpus", "2"]


def _kill_after(words: list[str], seconds: float, first_done: Path) -> bool:
    """Starts a run and kills it, with all it started, so long after its first checkpoint; whether it still ran."""
    before = len(list(first_done.glob("*.parquet")))
    with subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(first_done.glob("*.parquet"))) == before:
            time.sleep(0.05)
        time.sleep(seconds)
        running = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    return running


def _output(out: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    found: dict[str, Any] = {"dropped": (out / "dropped.jsonl").read_text()}
    for name in ("sprint", "rft"):
        found[name] = [row for path in sorted((out / name).iterdir()) for row in pq.read_table(path).to_pylist()]
    return found | {"counts": json.loads((out / "manifest.json").read_text())["result"]["dropped"]}


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(tmp_path: Path) -> None:
    rows = _write_traces(tmp_path / "in.jsonl")
    reply = model(rows, CurationOptions(), DialogueOptions(structured=True, min_coverage=0.9))
    rng = random.Random(0)
    with MisbehavingServer(reply=reply, faults=FAULTS, latency_s=0.1) as server:
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        subprocess.run(_command(tmp_path / "in.jsonl", whole, server.url), check=True, stdout=subprocess.DEVNULL)
        words = _command(tmp_path / "in.jsonl", broken, server.url)
        killed, asked = 0, len(server.log)
        for number in range(KILLS):
            killed += _kill_after([*words, "--resume"] if number else words, rng.uniform(0, 0.8), broken / "rows")
        positions, _ = done(Store(str(broken)))
        assert killed
        assert 0 < len(positions) <= NUM_ROWS
        subprocess.run([*words, "--resume"], check=True, stdout=subprocess.DEVNULL)
        assert _output(broken) == _output(whole)
        again = Counter(entry.key for entry in server.log[asked:] if not entry.fault)
        # Only what was in flight when a run was killed is asked twice: at most the 16 tasks of 4 rows.
        assert sum(count - 1 for count in again.values()) <= KILLS * 4 * 4 * 4


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    _write_traces(tmp_path / "in.jsonl")
    return tmp_path / "in.jsonl"


def _config(traces: Path, out: Path, **options: Any) -> CurateConfig:
    return validate(CurateConfig, {"inputs": (str(traces),), "out": str(out), "num_cpus": 2, **options}, "test")


def test_only_the_same_run_can_be_gone_on_with(
    traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first = curate(_config(traces, out, limit=20, resume=True))  # a job tried again may never have begun
    assert "holds no run to go on with: it begins anew" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"started with min_ratio 1\.5, not 2\.0"):
        curate(_config(traces, out, limit=20, resume=True, min_ratio=2.0))
    assert curate(_config(traces, out, limit=20, resume=True)).as_dict() == first.as_dict()
    traces.write_text(traces.read_text() + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="inputs have changed"):
        curate(_config(traces, out, limit=20, resume=True))
