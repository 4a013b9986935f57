"""The cluster file is one that Ray's launcher accepts, checked without credentials or a network."""

from pathlib import Path
from typing import Any

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster.yaml"


@pytest.fixture
def cluster() -> dict[str, Any]:
    values = yaml.safe_load(CLUSTER.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def test_the_launcher_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_no_work_lands_on_the_head(cluster: dict[str, Any]) -> None:
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}


def test_the_image_has_the_ray_that_the_project_pins(cluster: dict[str, Any]) -> None:
    import ray

    assert f":{ray.__version__}-" in cluster["docker"]["image"]
