"""The option `nodes`: what it may say, which nodes it means, and that it reaches Ray in every room."""

from __future__ import annotations

from typing import Any

import pytest

from sprint import nodes
from sprint.config import StrictModel, validate
from sprint.errors import ConfigError

LABELS = {"sprint/pool": "curation", "ray.io/market-type": "spot"}


@pytest.mark.parametrize(
    ("wanted", "is_one"),
    [
        ({}, True),
        ({"sprint/pool": "curation"}, True),
        ({"sprint/pool": "gpu"}, False),
        ({"sprint/pool": "!gpu"}, True),
        ({"sprint/pool": "!curation"}, False),
        ({"sprint/pool": "in(gpu, curation)"}, True),
        ({"sprint/pool": "!in(gpu,training)"}, True),
        ({"sprint/pool": "curation", "ray.io/market-type": "on-demand"}, False),
        ({"absent": "x"}, False),
        ({"absent": "!x"}, True),
    ],
)
def test_a_node_is_meant_when_each_of_its_labels_is_what_it_must_be(wanted: dict[str, str], is_one: bool) -> None:
    assert nodes.matches(LABELS, nodes.checked(wanted)) is is_one


@pytest.mark.parametrize(
    "wanted", [{"a b": "x"}, {"": "x"}, {"sprint/pool": ""}, {"p": "-x"}, {"p": "in()"}, {"p": "a b"}]
)
def test_what_ray_could_not_read_is_refused_in_words(wanted: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        nodes.checked(wanted)


def test_every_selector_that_is_let_through_is_one_of_rays() -> None:
    from ray._private.label_utils import validate_label_selector

    for value in ("curation", "!gpu", "in(a, b)", "!in(a,b)", "A100-80", "x_y.z"):
        assert validate_label_selector(nodes.checked({"sprint/pool": value})) is None


CLUSTER = [
    {"Alive": True, "Labels": {"sprint/pool": "curation"}, "Resources": {"CPU": 4.0}},
    {"Alive": True, "Labels": {"sprint/pool": "gpu"}, "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"Alive": False, "Labels": {"sprint/pool": "gpu"}, "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"Alive": True, "Labels": {}, "Resources": {}},
]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import ray

    monkeypatch.setattr(ray, "nodes", lambda: CLUSTER)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    return []


def test_only_living_nodes_of_the_pool_count(said: list[str]) -> None:
    assert nodes.resources({"sprint/pool": "gpu"}) == {"CPU": 8.0, "GPU": 1.0}
    assert nodes.resources({}) == {"CPU": 12.0, "GPU": 1.0}


def test_a_cluster_that_may_grow_is_waited_for_and_says_what_for(said: list[str]) -> None:
    nodes.await_room({"sprint/pool": "gpu"}, {"GPU": 1}, "the engines", said.append)
    assert said == []
    nodes.await_room({"sprint/pool": "gpu"}, {"GPU": 8, "CPU": 2}, "the engines", said.append)
    nodes.await_room({"sprint/pool": "training"}, {}, "the engines", said.append)
    assert said == [
        "waiting for nodes: the engines claim 8 GPUs on nodes with sprint/pool=gpu, and the cluster has 1 GPUs yet",
        "waiting for nodes: the engines claim nothing on nodes with sprint/pool=training, "
        "and the cluster has no such node yet",
    ]


def test_a_machine_alone_is_not_waited_for(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    nodes.await_room({}, {"CPU": 12}, "curation tasks", said.append)
    with pytest.raises(ConfigError, match="claim 2 GPUs, and this Ray has 1 GPUs, expected fewer, or a cluster"):
        nodes.await_room({}, {"GPU": 2}, "the engines", said.append)
    with pytest.raises(ConfigError, match="on nodes with sprint/pool=training, and this Ray has no such node"):
        nodes.await_room({"sprint/pool": "training"}, {"CPU": 1}, "the workers", said.append)


def configs() -> list[tuple[type[StrictModel], dict[str, Any]]]:
    from pipelines.config import CurateConfig
    from serve_app.config import PoolConfig
    from sprint.evals.config import EvalConfig
    from train.config import TrainConfig

    batch = {"task": "chains", "out": "x.jsonl", "batch": True, "engine": {"model": "m"}}
    return [
        (CurateConfig, {"inputs": ["x"]}),
        (TrainConfig, {"data": "x", "name": "x"}),
        (PoolConfig, {"model": "x"}),
        (EvalConfig, batch),
    ]


@pytest.mark.parametrize(("model", "values"), configs(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_stage_takes_nodes_and_checks_them(model: type[StrictModel], values: dict[str, Any]) -> None:
    assert validate(model, values, "test").nodes == {}  # type: ignore[attr-defined]
    wanted = {"sprint/pool": "gpu"}
    assert validate(model, values | {"nodes": wanted}, "test").nodes == wanted  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="nodes"):
        validate(model, values | {"nodes": {"sprint/pool": "in("}}, "test")


def test_nodes_do_not_decide_what_a_curation_comes_to() -> None:
    from pipelines.config import CurateConfig

    plain = {"inputs": ["x"], "annotator": "vllm", "engine": {"model": "m"}}
    engine = {"model": "m", "nodes": {"sprint/pool": "gpu"}}
    moved = plain | {"nodes": {"sprint/pool": "curation"}, "engine": engine}
    essences = [validate(CurateConfig, values, "test").essence() for values in (plain, moved)]
    assert essences[0] == essences[1]


def test_a_datasets_work_goes_to_the_nodes_around_it() -> None:
    import ray

    from pipelines.dataset import on_nodes

    options = ray.data.DataContext.get_current().execution_options
    with on_nodes({"sprint/pool": "curation"}):
        assert options.label_selector == {"sprint/pool": "curation"}
        with on_nodes({"sprint/pool": "gpu"}):
            assert options.label_selector == {"sprint/pool": "gpu"}
        with on_nodes({}):
            assert options.label_selector == {"sprint/pool": "curation"}
    assert options.label_selector is None


def test_a_replica_of_many_gpus_on_chosen_nodes_is_placed_by_ray_data(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = pytest.importorskip("ray.data.llm")
    from pipelines.batch import _processor
    from pipelines.config import EngineConfig

    monkeypatch.setattr(llm, "build_processor", lambda config, **_: config)
    wide = {"model": "m", "engine_kwargs": {"tensor_parallel_size": 4}}
    made = [_processor(EngineConfig.model_validate(wide | more)) for more in ({}, {"nodes": {"sprint/pool": "gpu"}})]
    assert [config.engine_kwargs.get("distributed_executor_backend") for config in made] == [None, "mp"]


def test_a_pools_replicas_are_placed_by_its_labels() -> None:
    from serve_app.app import _model
    from serve_app.config import AppConfig

    planner = {"nodes": {"sprint/pool": "in(gpu, training)"}}
    config = AppConfig.model_validate({"model": "m", "nodes": {"sprint/pool": "gpu"}, "planner": planner}, strict=False)
    placed = [_model(config, name, pool).ray_actor_options["label_selector"] for name, pool in config.pools()]
    assert placed == [planner["nodes"], {"sprint/pool": "gpu"}]


def test_training_workers_are_placed_by_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.train.torch

    from train import run
    from train.config import TrainConfig
    from train.loop import Job

    seen: list[Any] = []

    class Trainer:
        def __init__(self, loop: object, **settings: Any) -> None:
            seen.append(settings["scaling_config"].label_selector)

        def fit(self) -> None: ...

    monkeypatch.setattr(ray.train.torch, "TorchTrainer", Trainer)
    for nodes_of in ({}, {"sprint/pool": "training"}):
        values = {"data": "x", "name": "x", "nodes": nodes_of}
        run._fit(Job(validate(TrainConfig, values, "test"), "start", 1, 1, 1, None))  # type: ignore[arg-type]
    assert seen == [None, {"sprint/pool": "training"}]
