"""The Ray Serve application: ingress -> planner -> vLLM replicas.

    serve run serve_app.app:build model=runs/demo/sprint

It knows how the three are deployed and scaled, and nothing of what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application

from serve_app.config import AppConfig, check_model_folder, context_window
from serve_app.ingress import Ingress
from serve_app.planner import ServePlanner
from serve_app.vllm_server import CPU_ENGINE, CPU_ENVIRONMENT, ENVIRONMENT, VLLMServer
from sprint.card import ModelCard
from sprint.config import validate

MANY = 100_000  # the planner and the ingress only wait: what limits them is the engine's queue, not a count
POLL_S = 0.1  # how often a stopping replica looks whether it is idle
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


def build(args: Mapping[str, Any]) -> Application:
    """The application for `args`, the fields of AppConfig. Raises ConfigError with one sentence."""
    return application(validate(AppConfig, args, "arguments"))


def application(config: AppConfig) -> Application:
    """The application, bound but not running. Raises ConfigError when the model folder cannot be served."""
    check_model_folder(config.model)
    card = ModelCard.load(config.model)
    tokens = context_window(config)
    model = _model(config).bind(engine_args(config, tokens))
    planner = _planner(config).bind(model, config.model.resolve(), tokens)
    return _ingress().bind(planner, config.model_name, card.method)


def engine_args(config: AppConfig, context_tokens: int) -> dict[str, Any]:
    """The engine arguments for vLLM, the config's own last."""
    args: dict[str, Any] = {
        "model": str(config.model.resolve()),
        "max_model_len": context_tokens,
        "max_num_seqs": config.max_num_seqs,
        "enable_prefix_caching": True,  # executors continue the planner's own tokens
        "disable_log_stats": True,
        "scheduling_policy": "priority",  # older requests first, and their executors before their planner
    }
    if not config.num_gpus:
        args |= CPU_ENGINE | {"kv_cache_memory_bytes": config.kv_cache_mib << 20}
    return args | config.engine


def _model(config: AppConfig) -> Any:
    """The replicas that own an engine each."""
    environment = ENVIRONMENT if config.num_gpus else ENVIRONMENT | CPU_ENVIRONMENT
    return serve.deployment(
        VLLMServer,
        name="VLLMServer",
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": config.max_replicas,
            "target_ongoing_requests": config.target_ongoing_requests,
        },
        max_ongoing_requests=4 * max(config.target_ongoing_requests, config.max_num_seqs),
        ray_actor_options={
            "num_cpus": 0.5,
            "num_gpus": config.num_gpus,
            "runtime_env": {"env_vars": environment},
        },
        health_check_period_s=5,
        max_constructor_retry_count=1,
        graceful_shutdown_timeout_s=10,
        graceful_shutdown_wait_loop_s=POLL_S,
        logging_config=QUIET,
    )


def _planner(config: AppConfig) -> Any:
    return serve.deployment(
        ServePlanner,
        name="Planner",
        num_replicas=config.num_planners,
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": 0.1},
        max_constructor_retry_count=1,
        graceful_shutdown_timeout_s=10,
        graceful_shutdown_wait_loop_s=POLL_S,
        logging_config=QUIET,
    )


def _ingress() -> Any:
    return serve.deployment(
        serve.ingress()(Ingress),
        name="Ingress",
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": 0.1},
        max_constructor_retry_count=1,
        graceful_shutdown_timeout_s=10,
        graceful_shutdown_wait_loop_s=POLL_S,
        logging_config=QUIET,
    )
