"""The production file of the service: that it can be deployed, and what it asks the cluster for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sprint.card import Instruction, Method, ModelCard

FILE = Path(__file__).parents[2] / "deploy" / "serve.production.yaml"


@pytest.fixture(scope="module")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the real builder makes of the file, by name; the model's folder is one that exists here."""
    import yaml
    from ray.serve.schema import ServeDeploySchema

    from serve_app.app import build

    schema = ServeDeploySchema.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    application = schema.applications[0]
    assert application.import_path == "serve_app.app:build"
    found: dict[str, Any] = {}
    _collect(build(application.args | {"model": str(model_folder(tmp_path_factory.mktemp("model")))}), found)
    return found


def model_folder(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 32768}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").touch()
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder)
    return folder


def _collect(bound: Any, found: dict[str, Any]) -> None:
    """A bound application and all that are bound into it."""
    deployment = bound._bound_deployment
    found[deployment.name] = deployment
    for value in (*deployment.init_args, *deployment.init_kwargs.values()):
        for part in value.values() if isinstance(value, dict) else (value,):
            if hasattr(part, "_bound_deployment"):
                _collect(part, found)


def test_planner_and_executors_have_pools_of_their_own(deployments: dict[str, Any]) -> None:
    assert set(deployments) == {"Ingress", "Planner", "VLLMServer-planner", "VLLMServer-executor"}


@pytest.mark.parametrize(("pool", "gpus", "label"), [("planner", 2, "training"), ("executor", 1, "gpu")])
def test_a_replica_asks_for_all_its_gpus_at_once_and_on_labelled_nodes(
    deployments: dict[str, Any], pool: str, gpus: int, label: str
) -> None:
    """One actor is on one node, and so is an engine that spans its GPUs."""
    options = deployments[f"VLLMServer-{pool}"].ray_actor_options
    assert options["num_gpus"] == gpus
    assert options["label_selector"] == {"sprint/pool": label}
    args = deployments[f"VLLMServer-{pool}"].init_args[0]
    assert args.get("tensor_parallel_size", 1) == gpus


@pytest.mark.parametrize("pool", ["planner", "executor"])
def test_pools_follow_the_load_and_replace_replicas_before_they_stop_them(
    deployments: dict[str, Any], pool: str
) -> None:
    config = deployments[f"VLLMServer-{pool}"]._deployment_config
    scaling = config.autoscaling_config
    assert scaling.max_replicas > scaling.min_replicas
    assert scaling.target_ongoing_requests < config.max_ongoing_requests
    assert config.max_surge_percent == 100


def test_engines_are_given_longer_than_the_planners_whose_questions_they_answer(deployments: dict[str, Any]) -> None:
    planner = deployments["Planner"]._deployment_config
    assert planner.max_surge_percent == deployments["Ingress"]._deployment_config.max_surge_percent == 100
    for pool in ("planner", "executor"):
        engines = deployments[f"VLLMServer-{pool}"]._deployment_config
        assert engines.graceful_shutdown_timeout_s > planner.graceful_shutdown_timeout_s
