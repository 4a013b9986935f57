"""The cluster files are ones that Ray's launcher accepts and its autoscaler reads as meant, without credentials."""

import json
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {"aws": ROOT / "cluster.yaml", "gcp": ROOT / "deploy" / "gcp.yaml"}
POOLS = {"curation", "gpu", "training"}
# What Ray finds out about AWS machines when it starts them, and is told in the file about Google's.
MACHINES = {
    "m6i.2xlarge": {"CPU": 0},
    "m6i.4xlarge": {"CPU": 16},
    "p5.4xlarge": {"CPU": 16, "GPU": 1},
    "p5.48xlarge": {"CPU": 192, "GPU": 8},
}
MAX_UPLOAD = 4 * 2**20


@pytest.fixture(params=FILES)
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    values = yaml.safe_load(FILES[request.param].read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def workers(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]}


# --- what the launcher reads -----------------------------------------------------------------------------------------


def test_the_launcher_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_a_key_that_the_launcher_does_not_know_is_refused(cluster: dict[str, Any]) -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster["available_node_types"]["gpu"]["label"] = {}
    with pytest.raises(jsonschema.ValidationError, match="'label' was unexpected"):
        validate_config(prepare_config(cluster))


def test_the_image_has_the_ray_and_the_python_that_the_project_pins(cluster: dict[str, Any]) -> None:
    import ray

    assert cluster["docker"]["image"].startswith(f"rayproject/ray:{ray.__version__}-py311")
    assert f"ray=={ray.__version__}\n" in (ROOT / "requirements" / "gpu.lock").read_text(encoding="utf-8")


def test_no_work_lands_on_the_head_and_idle_pools_go_to_nothing(cluster: dict[str, Any]) -> None:
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}
    assert {kind["min_workers"] for kind in workers(cluster).values()} == {0}
    assert cluster["max_workers"] >= sum(kind["max_workers"] for kind in workers(cluster).values())


def test_every_pool_bears_the_label_of_its_name(cluster: dict[str, Any]) -> None:
    assert {name: kind["labels"] for name, kind in workers(cluster).items()} == {
        name: {"sprint/pool": name} for name in POOLS
    }


def test_every_pool_that_code_and_documents_name_is_one_of_the_cluster_file() -> None:
    folders = [ROOT / name for name in ("deploy", "sprint", "pipelines", "train", "serve_app")]
    texts = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".md", ".py", ".yaml"}]
    named = {
        pool
        for path in [*texts, *ROOT.glob("*.md"), *FILES.values()]
        for pool in re.findall(r"sprint/pool\"?(?:=|: )(\w+)", path.read_text(encoding="utf-8"))
    }
    assert named == POOLS | {"head"}


def test_ray_asks_for_a_token_which_every_node_is_given_and_its_dashboard_is_not_on_the_network(
    cluster: dict[str, Any],
) -> None:
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    (start,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start


def test_storage_is_one_variable_with_the_same_value_on_every_cloud() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES.values()]
    assert all("--env SPRINT_STORAGE=/shared/sprint" in file["docker"]["run_options"] for file in files)
    same = ("docker", "file_mounts", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    assert [files[0][key] for key in same] == [files[1][key] for key in same]


# --- which pool grows ------------------------------------------------------------------------------------------------


def launched(cluster: dict[str, Any], resources: dict[str, float], pool: str) -> dict[str, int]:
    """How many nodes of which type Ray's autoscaler would start for one claim of these resources in `pool`."""
    from ray.autoscaler._private.util import prepare_config
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.common_pb2 import LABEL_OPERATOR_IN

    for kind in cluster["available_node_types"].values():
        kind["resources"] = kind["resources"] or MACHINES[kind["node_config"]["InstanceType"]]
    config = AutoscalingConfig(prepare_config(cluster), skip_content_hash=True)
    selector = [[("sprint/pool", LABEL_OPERATOR_IN, [pool])]] if pool else None
    claim = ResourceRequestUtil.make(resources, label_selectors=selector)
    reply = ResourceDemandScheduler(logging.getLogger("scheduler")).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([claim]),
        )
    )
    return {request.instance_type: request.count for request in reply.to_launch if request.instance_type != "head"}


@pytest.mark.parametrize(
    ("pool", "resources"),
    [
        ("curation", {"CPU": 0.5}),
        ("gpu", {"CPU": 1, "GPU": 1}),
        ("training", {"CPU": 4, "GPU": 1}),
        ("gpu", {"CPU": 1}),
    ],
)
def test_a_claim_makes_the_pool_of_its_label_grow(
    cluster: dict[str, Any], pool: str, resources: dict[str, float]
) -> None:
    assert launched(cluster, resources, pool) == {pool: 1}


def test_a_claim_that_no_node_of_its_pool_could_hold_starts_nothing(cluster: dict[str, Any]) -> None:
    assert launched(cluster, {"GPU": 2}, "gpu") == {}
    assert launched(cluster, {"GPU": 2}, "training") == {"training": 1}


def test_the_autoscaler_is_the_one_that_looks_at_labels(cluster: dict[str, Any]) -> None:
    assert "--env RAY_enable_autoscaler_v2=1" in cluster["docker"]["run_options"]


# --- what a job uploads ----------------------------------------------------------------------------------------------


def test_a_jobs_working_directory_is_small_and_holds_all_that_runs(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package

    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    with zipfile.ZipFile(package) as packed:
        sizes = {entry.filename: entry.file_size for entry in packed.infolist()}
    assert sum(sizes.values()) < MAX_UPLOAD, json.dumps(sorted(sizes.items(), key=lambda item: -item[1])[:5])
    rooms = ("sprint", "pipelines", "train", "serve_app")
    needed = {str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()}
    needed = {name for name in needed if "__pycache__" not in name}
    assert needed - sizes.keys() == set()
    assert {name.split("/")[0] for name in sizes} & {"tests", "benchmarks", "deploy", ".git", ".venv", "runs"} == set()
