"""What the service is told, what it says of its state, and its numbers: all without a server."""

import asyncio
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from serve_app.config import AppConfig, PoolConfig, check_pools
from serve_app.pools.callers import Callers
from serve_app.pools.house import House
from serve_app.pools.readiness import PoolReadiness, ReadinessState, judged, overall
from serve_app.pools.root_cause import cause
from serve_app.pools.stats import PoolStats, ReplicaLoad, RouteCounts, ServiceStats, merged
from serve_app.pools.width import Width, fair_width
from sprint.config import validate
from sprint.errors import ConfigError, LLMUnavailable

ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": "big"}


def configured(**values: Any) -> AppConfig:
    return validate(AppConfig, {"model": "a"} | values, "arguments")


# --- pools -----------------------------------------------------------------------------------------------------------


def test_without_pools_of_their_own_planner_and_executors_share_one() -> None:
    config = configured(max_replicas=3, engine={"seed": 1})
    assert [name for name, _ in config.pools()] == ["model"]
    assert config.pools()[0][1].max_replicas == 3


def test_a_pool_of_its_own_differs_where_it_says_so() -> None:
    config = configured(max_num_seqs=8, num_gpus=1, executor={"model": "b", "max_replicas": 4, "num_gpus": 0})
    (_, planner), (_, executor) = config.pools()
    assert (planner.model, planner.max_replicas, planner.num_gpus, planner.max_num_seqs) == (Path("a"), 1, 1, 8)
    assert (executor.model, executor.max_replicas, executor.num_gpus, executor.max_num_seqs) == (Path("b"), 4, 0, 8)


def test_an_endpoint_stands_in_for_the_pool_that_names_it() -> None:
    (_, planner), (_, executor) = configured(planner={"endpoint": ENDPOINT}).pools()
    assert planner.endpoint is not None
    assert planner.endpoint.model == "big"
    assert executor.endpoint is None
    (_, planner), (_, executor) = configured(endpoint=ENDPOINT, executor={"model": "b"}).pools()
    assert planner.endpoint is not None
    assert executor.endpoint is None


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown option of a pool": ({"executor": {"gpus": 1}}, "the executor pool: unknown key 'gpus'"),
    "fewer than the fewest": ({"min_replicas": 3, "max_replicas": 2}, "more than max_replicas"),
    "a start out of range": ({"initial_replicas": 2}, "initial_replicas is 2"),
    "less than the target": ({"max_ongoing": 8}, "max_ongoing is 8"),
    "a parallel engine on too few GPUs": ({"num_gpus": 1, "engine": {"tensor_parallel_size": 2}}, "the engine spans 2"),
    "an endpoint without a model": ({"endpoint": {"base_url": "http://x"}}, "'endpoint.model' is missing"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str) -> None:
    values, part = MISTAKES[name]
    with pytest.raises(ConfigError, match=part) as caught:
        configured(**values)
    assert "\n" not in str(caught.value)


def model_folder(folder: Path, vocabulary: str, *, weights: bool = True) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({"model": vocabulary}))
    (folder / "config.json").write_text('{"max_position_embeddings": 64}')
    if weights:
        (folder / "model.safetensors").touch()
    return folder


def test_pools_must_speak_the_same_tokens(tmp_path: Path) -> None:
    same, other = model_folder(tmp_path / "a", "x"), model_folder(tmp_path / "b", "y")
    with pytest.raises(ConfigError, match="the same tokenizer"):
        check_pools(configured(model=str(same), executor={"model": str(other)}))
    check_pools(configured(model=str(same), executor={"model": str(model_folder(tmp_path / "c", "x"))}))


def test_only_a_pool_of_engines_needs_weights(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "a", "x", weights=False)
    with pytest.raises(ConfigError, match="no weights"):
        check_pools(configured(model=str(folder)))
    check_pools(configured(model=str(folder), endpoint=ENDPOINT))


# --- readiness -------------------------------------------------------------------------------------------------------

TRACEBACK = """The deployment failed to start 1 times in a row.
ray::ServeReplica.initialize() (pid=1)
  File "x.py", line 3, in __init__
    raise ValueError("unsupported")
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, max_model_len (9) is too large [type=value_error, input_value=ArgsKwargs((),), input_type=ArgsKwargs]
RuntimeError: Engine core initialization failed. See root cause above."""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Traceback\nTypeError: got an unexpected keyword argument 'x'\n", "TypeError: got an unexpected keyword"),
        (TRACEBACK, "ValidationError: 1 validation error for ModelConfig: max_model_len (9) is too large"),
        (
            "a\ntorch.OutOfMemoryError: CUDA out of memory. Tried\nRuntimeError: b",
            "out of memory: OutOfMemoryError: CUDA",
        ),
        ("A replica's health check failed. This deployment will be", "a replica failed and is being replaced"),
        (
            "(EngineCore pid=7) ERROR 11-24 12:00:00 [core.py:9] ValueError: No available memory for the cache blocks.",
            "the KV cache does not fit its memory: ValueError: No available",
        ),
        (
            "serve_app.pools.vllm_server.EngineFailed: the engine could not be started: x",
            "the engine could not be started",
        ),
        ("", "no reason was given"),
    ],
)
def test_of_a_traceback_the_cause_is_told(message: str, said: str) -> None:
    assert cause(message).startswith(said)
    assert "\n" not in cause(message)


@pytest.mark.parametrize(
    ("seen", "state", "part"),
    [
        ((2, 2), ReadinessState.READY, ""),
        ((3, 2), ReadinessState.READY, ""),
        ((1, 2), ReadinessState.DEGRADED, "1 of 2 replicas answer"),
        ((0, 2), ReadinessState.STARTING, "no replica answers yet"),
        ((0, 1, "ValueError: bad"), ReadinessState.FAILED, "ValueError: bad (it is being tried again)"),
    ],
)
def test_a_pool_is_judged_by_who_answers(seen: tuple[Any, ...], state: ReadinessState, part: str) -> None:
    pool = judged("model", *seen)
    assert pool.state is state
    assert pool.reason.startswith(part)


def test_a_service_is_as_ready_as_its_worst_pool() -> None:
    ready = PoolReadiness("planner", ReadinessState.READY)
    failed = PoolReadiness("executor", ReadinessState.FAILED, "out of memory")
    whole = overall([ready, failed])
    assert (whole.state, whole.reason, whole.is_ready) == (ReadinessState.FAILED, "executor: out of memory", False)
    assert overall([ready]).is_ready
    assert pickle.loads(pickle.dumps(whole)) == whole


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_engines_are_counted_once_and_what_planners_counted_adds_up() -> None:
    load = ReplicaLoad("r", 3, 1, 0.5)
    one = ServiceStats((PoolStats("model", (load,), RouteCounts(calls=2, retries=1)),), 4)
    other = ServiceStats((PoolStats("model", (load, ReplicaLoad("q", 1, 0)), RouteCounts(calls=5)),), 1)
    both = merged([one, other])
    assert (both.running, both.waiting, both.rollouts) == (4, 1, 5)
    assert both.pools[0].routes == RouteCounts(calls=7, retries=1)
    assert both.pools[0].kv_cache_use == 0.5
    assert merged([]) == ServiceStats()


def test_a_new_request_is_narrowed_to_its_share_only_while_calls_wait() -> None:
    assert fair_width(0, 64, 40) is None
    assert fair_width(5, 64, 16) == 4
    assert fair_width(5, 64, 1000) == 1

    async def run() -> None:
        async def stats() -> ServiceStats:
            return ServiceStats((PoolStats("model", (ReplicaLoad("r", 8, 3),)),), rollouts=3)

        width = Width(stats, slots=8, every_s=0.01)
        assert width.at_most(32) == 32
        async with asyncio.timeout(5):
            while width.at_most(32) == 32:
                await asyncio.sleep(0.01)
        assert (width.at_most(32), width.at_most(1)) == (2, 1)

    asyncio.run(run())


# --- who works for whom ----------------------------------------------------------------------------------------------


def test_what_was_asked_by_a_caller_that_died_is_stopped() -> None:
    async def run() -> None:
        dead: set[str] = set()
        callers, stopped = Callers(dead.__contains__, every_s=0.01), asyncio.Event()
        with callers.working_for("alive", lambda: pytest.fail("stopped")), callers.working_for("it", stopped.set):
            await asyncio.sleep(0.05)
            assert not stopped.is_set()
            dead.add("it")
            async with asyncio.timeout(5):
                await stopped.wait()

    asyncio.run(run())


def test_a_closed_house_lets_those_inside_finish_and_then_sends_them_away() -> None:
    async def work(house: House, seconds: float) -> str:
        async with house.visit():
            await asyncio.sleep(seconds)
        return "done"

    async def run() -> None:
        house = House()
        quick, slow = (asyncio.create_task(work(house, seconds)) for seconds in (0.02, 60))
        await asyncio.sleep(0)
        assert len(house) == 2
        await house.close(0.3)
        assert await quick == "done"
        with pytest.raises(LLMUnavailable, match="before the answer was finished"):
            await slow
        with pytest.raises(LLMUnavailable, match="shutting down"):
            await work(house, 0)
        assert len(house) == 0

    asyncio.run(run())


def test_whose_caller_died_is_sent_away() -> None:
    async def run() -> None:
        house = House(Callers(lambda _: True, every_s=0.01))
        with pytest.raises(LLMUnavailable):
            async with house.visit("it"):
                await asyncio.sleep(60)

    asyncio.run(run())


def test_the_yaml_that_is_shipped_can_be_deployed() -> None:
    import yaml
    from ray.serve.schema import ServeDeploySchema

    text = (Path(__file__).parents[2] / "serve_app" / "serve.yaml").read_text()
    schema = ServeDeploySchema.model_validate(yaml.safe_load(text))
    assert [app.import_path for app in schema.applications] == ["serve_app.app:build"]
    validate(AppConfig, schema.applications[0].args, "args")
    shown = set(re.findall(r"^ {6}# (\w+):", text, re.M))
    assert shown <= set(AppConfig.model_fields)
    assert set(PoolConfig.model_fields) - {"model", "endpoint"} <= shown


SLOW = (
    "Deployment 'VLLMServer' in application 'sprint' has 1 replicas that have taken more than 30s to {what}. "
    "{more}Use `ray status` for more details."
)


@pytest.mark.parametrize(
    ("what", "more", "reason"),
    [
        ("initialize", "This may be caused by a slow __init__ or reconfigure method. ", "the model is being loaded"),
        (
            "be scheduled",
            'Resources required for each replica: {"CPU": 0.5, "GPU": 1}, total resources available: {"CPU": 7.0}. ',
            'no node has room for a replica, which needs {"CPU": 0.5, "GPU": 1}',
        ),
    ],
)
def test_a_slow_start_is_a_start_and_no_failure(what: str, more: str, reason: str) -> None:
    message = SLOW.replace("{what}", what).replace("{more}", more)
    seen = judged("model", 0, 1, message)
    assert seen.state is ReadinessState.STARTING
    assert reason in seen.reason
    assert judged("model", 1, 1, message).state is ReadinessState.READY


def test_a_window_larger_than_the_models_is_refused_before_anything_starts(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path)
    check_pools(AppConfig(model=folder, context_tokens=64))
    with pytest.raises(ConfigError, match=r"context_tokens is 65, the model in .* was made for at most 64"):
        check_pools(AppConfig(model=folder, context_tokens=65))


def tiny_folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 64}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    return tmp_path
