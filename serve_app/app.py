"""The Ray Serve application: ingress -> planner -> pools of vLLM replicas.

    serve run serve_app.app:build model=runs/demo/sprint

It knows how the three are deployed and scaled, and nothing of what they do.

With `tensor_parallel_size` above 1 in a pool's `engine`, vLLM starts one worker process per GPU beside the replica.
`num_gpus` must then be that size: Ray gives one replica all its GPUs on one node, and vLLM finds them in
CUDA_VISIBLE_DEVICES. Engines that span nodes are not deployed here: put them behind an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from serve_app.api.http_config import HttpConfig
from serve_app.api.ingress import Ingress
from serve_app.config import SHARED, AppConfig, PoolConfig, check_pools, context_window
from serve_app.planner import ServePlanner
from serve_app.pools.model_version import version_of
from serve_app.pools.router import AffinityRouter
from serve_app.pools.versions import door_version
from serve_app.pools.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMReplica
from sprint.card import ModelCard
from sprint.config import validate

MANY = 100_000  # the planner and the ingress only wait: what limits them is the engine's queue, not a count
OUTLIVES_S = 30.0  # engines are not stopped before the planners whose questions they answer
POLL_S = 0.1  # how often a stopping replica looks whether it is idle
HEALTH_S = 2.0  # how often replicas are asked for their health; three times ill, and one is replaced
QUIET = {"enable_access_log": False, "log_level": "WARNING"}
DEPLOYMENTS = {SHARED: "VLLMServer"}


def build(args: Mapping[str, Any]) -> Application:
    """The application for `args`, the fields of AppConfig. Raises ConfigError with one sentence."""
    return application(validate(AppConfig, args, "arguments"))


def application(config: AppConfig) -> Application:
    """The application, bound but not running. Raises ConfigError when a model folder cannot be served."""
    check_pools(config)
    pools = config.pools()
    card = ModelCard.load(pools[0][1].model)
    versions = {name: version_of(pool) for name, pool in pools if pool.endpoint is None}
    models = {
        name: _model(config, name, pool).bind(engine_args(pool, context_window(pool)), versions[name])
        for name, pool in pools
        if pool.endpoint is None
    }
    window = min(context_window(pool) for _, pool in pools)
    planner = _planner(config).bind(models, config, window, versions)
    door = _absolute(config.http), door_version(versions)
    return _ingress(config).bind(planner, config.model_name, card.method, *door)


def _absolute(http: HttpConfig) -> HttpConfig:
    """A replica has a folder of its own to run in."""
    return http.model_copy(update={"keys_file": http.keys_file.absolute()}) if http.keys_file else http


def engine_args(pool: PoolConfig, context_tokens: int) -> dict[str, Any]:
    """The engine arguments for vLLM, the pool's own last."""
    args: dict[str, Any] = {
        "model": str(pool.model.resolve()),
        "max_model_len": context_tokens,
        "max_num_seqs": pool.max_num_seqs,
        "enable_prefix_caching": True,  # executors continue the planner's own tokens
        "disable_log_stats": True,
        "scheduling_policy": "priority",  # older requests first, and their executors before their planner
    }
    if not pool.num_gpus:
        args |= CPU_ENGINE | {"kv_cache_memory_bytes": pool.kv_cache_mib << 20}
    return args | pool.engine


def deployment_name(pool: str) -> str:
    """The name of a pool's deployment."""
    return DEPLOYMENTS.get(pool, f"VLLMServer-{pool}")


def _model(config: AppConfig, name: str, pool: PoolConfig) -> Any:
    """The replicas that own an engine each."""
    environment = ENVIRONMENT if pool.num_gpus else ENVIRONMENT | CPU_ENVIRONMENT
    scaling = {
        "min_replicas": pool.min_replicas,
        "max_replicas": pool.max_replicas,
        "initial_replicas": pool.initial_replicas,
        "target_ongoing_requests": pool.target_ongoing_requests,
        "upscale_delay_s": pool.upscale_delay_s,
        "downscale_delay_s": pool.downscale_delay_s,
    }
    return serve.deployment(
        VLLMReplica,
        name=deployment_name(name),
        autoscaling_config=scaling,
        max_ongoing_requests=pool.max_ongoing,
        max_queued_requests=pool.max_queued,
        request_router_config=RequestRouterConfig(
            request_router_class=AffinityRouter,
            request_router_kwargs={"margin": pool.spill_over_margin},
        ),
        ray_actor_options={
            "num_cpus": 0.5,
            "num_gpus": pool.num_gpus,
            "runtime_env": {"env_vars": environment},
            **_placed(pool),
        },
        health_check_period_s=HEALTH_S,
        max_constructor_retry_count=1,
        max_surge_percent=pool.surge_percent,
        **_ending(config.grace_s + OUTLIVES_S),
    )


def _placed(pool: PoolConfig) -> dict[str, Any]:
    """The nodes that a pool's replicas may run on, as Ray's option."""
    return {"label_selector": dict(pool.nodes)} if pool.nodes else {}


def _planner(config: AppConfig) -> Any:
    return serve.deployment(
        ServePlanner,
        name="Planner",
        num_replicas=config.num_planners,
        max_surge_percent=100,
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": 0.1},
        health_check_period_s=HEALTH_S,
        max_constructor_retry_count=1,
        **_ending(config.grace_s),
    )


def _ingress(config: AppConfig) -> Any:
    return serve.deployment(
        serve.ingress()(Ingress),
        name="Ingress",
        max_surge_percent=100,
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": 0.1},
        max_constructor_retry_count=1,
        **_ending(config.grace_s),
    )


def _ending(grace_s: float) -> dict[str, Any]:
    return {
        "graceful_shutdown_timeout_s": grace_s,
        "graceful_shutdown_wait_loop_s": POLL_S,
        "logging_config": QUIET,
    }
