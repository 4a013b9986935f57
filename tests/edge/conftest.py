"""What the edge tests of serving share: a tiny model, made once a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(path)
    return path
