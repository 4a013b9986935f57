"""Uploading finished sets to a hub: the real client against a hub of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipelines.record.store import Store
from tests.edge.fake_hub import NAME, FakeHub

PUSH = f"from pipelines.push import push; from pipelines.record.store import Store; push(Store('.'), {NAME!r})"
FILES = {
    "README.md": b"---\nconfigs: []\n---\n",
    "manifest.json": b"{}",
    "report.html": b"<p>",
    "sprint/part-00000.parquet": b"PAR1 a",
    "rft/part-00000.parquet": b"PAR1 b",
    "rows/part-000000.parquet": b"PAR1 private",
    "dropped.jsonl": b"{}",
}


def _push(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    variables = os.environ | {"PYTHONPATH": root, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"} | environment
    return subprocess.run(
        [sys.executable, "-c", PUSH], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


def test_the_sets_and_what_explains_them_are_uploaded_and_nothing_else(tmp_path: Path) -> None:
    for name, content in FILES.items():
        Store(str(tmp_path)).write(name, content)
    with FakeHub({}) as hub:
        done = _push(tmp_path, HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert f"pushed to {hub.endpoint}/datasets/{NAME}" in done.stdout
        wanted = {name: content for name, content in FILES.items() if not name.startswith(("rows", "dropped"))}
        assert {name: data for name, data in hub.files.items() if name != ".gitattributes"} == wanted


def test_a_hub_that_cannot_be_reached_is_named_in_a_sentence(tmp_path: Path) -> None:
    Store(str(tmp_path)).write("README.md", b"#")
    done = _push(tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode
    assert f"InputError: {NAME} cannot be pushed: " in done.stderr
