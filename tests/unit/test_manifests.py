"""The Kubernetes manifests hold together and say what KubeRay and the stages understand, without a cluster.

Published schemas look closer where they are at hand. Kubernetes' own: `pip install kubernetes-validate`. KubeRay's:
SPRINT_KUBERAY_CRDS names a folder with ray.io_rayclusters.yaml, ray.io_rayjobs.yaml and ray.io_rayservices.yaml, which
github.com/ray-project/kuberay publishes in helm-chart/kuberay-operator/crds at the tag of `kuberay.VERSION`.
"""

import os
import shlex
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config import AppConfig
from sprint.cli import COMMANDS
from sprint.commandline import execute
from sprint.config import validate
from tests.unit import kuberay

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
CRDS = os.environ.get("SPRINT_KUBERAY_CRDS", "")


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    texts = [path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yaml"))]
    return tuple(item for text in texts for item in yaml.safe_load_all(text))


def documents(kind: str = "") -> list[dict[str, Any]]:
    return [item for item in manifests() if kind in ("", item["kind"])]


def only(kind: str) -> dict[str, Any]:
    (found,) = documents(kind)
    return found


def clusters() -> list[dict[str, Any]]:
    return [only("RayCluster")["spec"], only("RayService")["spec"]["rayClusterConfig"]]


def groups() -> list[dict[str, Any]]:
    return [group for cluster in clusters() for group in cluster["workerGroupSpecs"]]


def gpus_of(group: dict[str, Any]) -> int:
    (container,) = group["template"]["spec"]["containers"]
    return int(container["resources"]["limits"].get("nvidia.com/gpu", 0))


def pods() -> list[dict[str, Any]]:
    heads = [cluster["headGroupSpec"] for cluster in clusters()]
    submitters = [job["spec"]["submitterPodTemplate"]["spec"] for job in documents("RayJob")]
    return [group["template"]["spec"] for group in [*heads, *groups()]] + submitters


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods():
        yield from pod["containers"]


# --- fields and references -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", kuberay.SPECS)
def test_every_field_of_a_ray_object_is_one_that_kuberay_has(kind: str) -> None:
    found = documents(kind)
    assert found
    for item in found:
        assert item["apiVersion"] == "ray.io/v1"
        assert kuberay.faults(item["spec"], kuberay.SPECS[kind], item["metadata"]["name"]) == []


def test_a_misspelled_field_is_found() -> None:
    spec = deepcopy(only("RayCluster")["spec"])
    spec["workerGroupSpecs"][1]["maxReplica"] = 3
    spec["autoscalerOptions"]["version"] = "2"
    assert kuberay.faults(spec, kuberay.SPECS["RayCluster"], "spec") == [
        "spec.autoscalerOptions.version: '2' is none of v1, v2",
        f"spec.workerGroupSpecs[1].maxReplica: KubeRay {kuberay.VERSION} has no such field",
    ]


def test_no_two_ray_objects_have_one_name_for_their_services_would_too() -> None:
    names = [item["metadata"]["name"] for item in documents() if item["kind"] in kuberay.SPECS]
    assert len(names) == len(set(names))


def test_what_a_pod_mounts_and_reads_is_there() -> None:
    claim, settings = only("PersistentVolumeClaim")["metadata"]["name"], only("ConfigMap")["metadata"]["name"]
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes.keys()
            read = [
                source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
            ]
            assert read == ([settings] if volumes else [])
        claims = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
        assert all(used == {"claimName": claim} for used in claims)
    assert only("ConfigMap")["data"]["SPRINT_STORAGE"].startswith("/shared/")


# --- pools -----------------------------------------------------------------------------------------------------------


def test_the_groups_bear_the_labels_of_the_cluster_file() -> None:
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text("utf-8"))["available_node_types"]
    pools = {group["groupName"]: group["labels"] for group in only("RayCluster")["spec"]["workerGroupSpecs"]}
    assert pools == {name: kind["labels"] for name, kind in types.items() if name != "head"}
    assert all(group["labels"] == {"sprint/pool": group["groupName"]} for group in groups())


def test_no_work_lands_on_a_head_and_idle_groups_go_to_nothing() -> None:
    assert all(cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"} for cluster in clusters())
    assert {group["minReplicas"] for group in only("RayCluster")["spec"]["workerGroupSpecs"]} == {0}


def test_the_autoscaler_is_the_one_that_looks_at_labels() -> None:
    for cluster in clusters():
        assert cluster["enableInTreeAutoscaling"] is True
        assert cluster["autoscalerOptions"]["version"] == "v2"


def test_gpus_are_asked_for_where_the_gpu_image_runs_and_nowhere_else() -> None:
    for group in groups():
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        asked = gpus_of(group) > 0
        assert container["image"].endswith("-gpu" if asked else "-cpu")
        assert asked == ("nvidia.com/gpu.product" in pod.get("nodeSelector", {}))


# --- one version, one token ------------------------------------------------------------------------------------------


def test_every_image_has_the_ray_that_the_project_pins() -> None:
    pinned = version("ray")
    assert {cluster["rayVersion"] for cluster in clusters()} == {pinned}
    images = {container["image"] for container in containers()}
    assert images == {f"sprint:{pinned}-py311-{kind}" for kind in ("cpu", "gpu")}


def test_every_cluster_asks_for_the_token_and_no_manifest_holds_one() -> None:
    assert {str(cluster["authOptions"]) for cluster in clusters()} == {
        str({"mode": "token", "secretName": "sprint-ray-token"})
    }
    assert documents("Secret") == []


def test_no_container_is_root_or_may_become_it() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
    for container in containers():
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


# --- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["curate", "train", "evaluate"])
def test_the_entrypoint_of_a_job_is_a_command_that_its_stage_accepts(stage: str) -> None:
    job = {item["metadata"]["name"]: item["spec"] for item in documents("RayJob")}[f"sprint-{stage}"]
    storage = only("ConfigMap")["data"]["SPRINT_STORAGE"]
    line = job["entrypoint"].replace("$SPRINT_STORAGE", storage).replace("/home/ray/sprint/", f"{ROOT}/")
    program, name, *words = shlex.split(line)
    accepted: list[Any] = []
    code = execute("sprint", "", {stage: replace(COMMANDS[stage], run=accepted.append)}, [name, *words])
    assert (program, name, code) == ("sprint", stage, 0)
    (config,) = accepted
    assert config.resume is True
    assert config.nodes["sprint/pool"] in {
        group["groupName"] for group in only("RayCluster")["spec"]["workerGroupSpecs"]
    }
    assert job["clusterSelector"] == {"ray.io/cluster": only("RayCluster")["metadata"]["name"]}


def test_the_service_runs_the_production_file_word_for_word() -> None:
    production = (ROOT / "deploy" / "serve.production.yaml").read_text("utf-8")
    assert only("RayService")["spec"]["serveConfigV2"].strip() == production.strip()


def test_a_replica_of_every_pool_fits_a_node_of_the_group_that_it_is_sent_to() -> None:
    (application,) = yaml.safe_load(only("RayService")["spec"]["serveConfigV2"])["applications"]
    gpus = {
        group["groupName"]: gpus_of(group)
        for group in only("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    for name, pool in validate(AppConfig, application["args"], "args").pools():
        assert pool.num_gpus <= gpus[pool.nodes["sprint/pool"]], name


# --- published schemas -----------------------------------------------------------------------------------------------


def test_kubernetes_own_objects_fit_its_published_schemas() -> None:
    published = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate to check them")
    plain = [item for item in documents() if item["apiVersion"] != "ray.io/v1"]
    templates = [{"metadata": {"name": "pod"}, "spec": pod} for pod in pods()]
    for item in [*plain, *({"apiVersion": "v1", "kind": "Pod", **template} for template in templates)]:
        published.validate(item, published.latest_version(), strict=True)


@pytest.mark.skipif(
    not CRDS, reason="SPRINT_KUBERAY_CRDS names no folder with KubeRay's CRDs (this module's docstring)"
)
@pytest.mark.parametrize("kind", kuberay.SPECS)
def test_ray_objects_fit_the_published_definitions(kind: str) -> None:
    import jsonschema

    definition = yaml.safe_load((Path(CRDS) / f"ray.io_{kind.lower()}s.yaml").read_text("utf-8"))
    (schema,) = [one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == "v1"]
    for item in documents(kind):
        jsonschema.Draft7Validator(kuberay.closed(schema)).validate(item)
