"""Reports that several files of tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprint.evals.config import ReportConfig
from sprint.evals.report import report
from tests.unit.evaluated import results, write


@pytest.fixture
def run_files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft")]


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished report on the files sprint.jsonl and rft.jsonl: page.html, page.md, page.json."""
    folder = tmp_path_factory.mktemp("report")
    paths = [write(folder / f"{label}.jsonl", results(label)) for label in ("sprint", "rft")]
    report(ReportConfig(runs=paths, out=folder / "page.html"))
    return folder
