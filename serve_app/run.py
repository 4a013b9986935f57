"""`sprint serve`: starts what is needed, says one line when it answers, and stops exactly what it started.

It knows the order of starting and stopping. Ray is imported after everything that can be checked without it has been.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from serve_app.api.auth import load_keys
from serve_app.config import ServeConfig, check_pools
from serve_app.pools.root_cause import cause
from sprint.card import ModelCard
from sprint.errors import ConfigError, LLMUnavailable
from sprint.files import write_text
from sprint.local_ray import ray_session

APP_NAME = "sprint"
POLL_S = 0.2
LOADING_S = 10  # seconds between signs of life while a model is loaded
CLOSE_S = 5.0  # beyond the grace period, for the planners to say that they are empty
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(config: ServeConfig) -> None:
    """Serve a model until SIGINT or SIGTERM.

    Raises ConfigError before anything is started when the folder cannot be served or the port is taken, and
    LLMUnavailable when the engine does not start.
    """
    started_at = time.monotonic()
    with _stop_signal() as stop, suppress(_Stopped), running(config, stop):
        _say_ready(config, time.monotonic() - started_at)
        stop.wait()


@contextmanager
def running(config: ServeConfig, stop: threading.Event | None = None) -> Iterator[str]:
    """The served application, as its URL, for as long as the block runs.

    `stop` gives up the start when it is set; the block is then not run. Raises like `serve`.
    """
    _check(config)
    with ray_session(config.num_cpus), _serve_instance(config):
        _deploy(config, stop or threading.Event())
        try:
            yield url(config)
        finally:
            _close(config)


def url(config: ServeConfig) -> str:
    """Where the server answers."""
    host = "127.0.0.1" if config.host == "0.0.0.0" else config.host
    return f"http://{host}:{config.port}"


def _check(config: ServeConfig) -> None:
    check_pools(config)
    ModelCard.load(config.pools()[0][1].model)
    load_keys(config.http)
    _check_port(config.host, config.port)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", field="port") from None


# --- Ray -------------------------------------------------------------------------------------------------------------


@contextmanager
def _serve_instance(config: ServeConfig) -> Iterator[None]:
    """Ray Serve, of which nobody else has anything. Raises ConfigError when somebody has."""
    from ray import serve

    from serve_app.app import QUIET

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if serve.status().proxies:  # its address cannot be changed, and what runs there is not ours to replace
        raise ConfigError(
            "Ray Serve already runs on this Ray cluster: use `serve deploy serve_app/serve.yaml` to change what it"
            " serves, or unset RAY_ADDRESS to serve on a Ray of its own"
        )
    _check_gpus(config)
    try:
        door = {"host": config.host, "port": config.port}
        serve.start(proxy_location="HeadOnly", http_options=door, logging_config=QUIET)
        yield
    finally:
        if config.ready_file:
            config.ready_file.unlink(missing_ok=True)
        with redirect_stdout(io.StringIO()):  # the raylet reports that the controller ended, which is what we want
            serve.shutdown()


def _check_gpus(config: ServeConfig) -> None:
    """Raises ConfigError when a replica can never start on this machine; a cluster may still grow."""
    import ray

    wanted = max((pool.num_gpus for _, pool in config.pools() if pool.endpoint is None), default=0)
    there = int(ray.cluster_resources().get("GPU", 0))
    if wanted > there and "RAY_ADDRESS" not in os.environ:
        raise ConfigError(f"a replica asks for num_gpus = {wanted}, this machine has {there}", field="num_gpus")


def _deploy(config: ServeConfig, stop: threading.Event) -> None:
    """Start the application and wait until it answers."""
    from ray import serve

    from serve_app.app import application

    target = serve.RunTarget(application(config), name=APP_NAME, route_prefix="/")
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    began_at, told = time.monotonic(), 0
    while not _is_running():
        if stop.wait(POLL_S):
            raise _Stopped
        if (waited := int(time.monotonic() - began_at) // LOADING_S) > told:
            told = waited
            print(f"loading for {told * LOADING_S} s", file=sys.stderr, flush=True)
    if config.ready_file:
        write_text(config.ready_file, url(config) + "\n")


def _close(config: ServeConfig) -> None:
    """Answers are finished, or ended with an error that says why, before anything is taken down."""
    from ray import serve

    print(f"stopping: what is being answered has {config.grace_s:g} s to end", file=sys.stderr, flush=True)
    planners = serve.get_deployment_handle("Planner", APP_NAME)
    try:
        planners.broadcast("close", config.grace_s).results(timeout_s=config.grace_s + CLOSE_S)
    except Exception as error:  # there may be no planner left to ask; it is taken down all the same
        logging.getLogger(__name__).debug("the planners could not be closed: %s", error)


def _is_running() -> bool:
    """Whether every part of the application runs. Raises LLMUnavailable when one cannot."""
    from ray import serve

    app = serve.status().applications.get(APP_NAME)
    if app is not None and app.status == "DEPLOY_FAILED":
        raise LLMUnavailable(f"the model could not be served: {_reason(app)}")
    return app is not None and app.status == "RUNNING"


def _reason(app: Any) -> str:
    """The end of the traceback of the part that failed, where there is one."""
    messages: list[str] = [app.message, *(deployment.message for deployment in app.deployments.values())]
    return cause("\n".join(messages))


# --- the person at the terminal --------------------------------------------------------------------------------------


class _Stopped(Exception):
    """The start was given up because a signal asked for it."""


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set. Nothing is interrupted: Ray does not survive that everywhere."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_ready(config: ServeConfig, seconds: float) -> None:
    body = f'{{"model": "{config.model_name}", "messages": [{{"role": "user", "content": "…"}}]}}'
    key = ' -H "authorization: Bearer $SPRINT_API_KEY"' if load_keys(config.http) else ""
    print(
        f"ready after {seconds:.0f} s: {config.model_name} at {url(config)}/v1, a page to ask it at {url(config)}/\n"
        f"try: curl -N {url(config)}/v1/chat/completions{key} -d '{body}'\n"
        f"logs: {_logs_folder()}/*.err",
        flush=True,
    )


def _logs_folder() -> Path:
    """Where the processes of this Ray write their logs."""
    from ray import _private

    node = _private.worker._global_node
    return Path(node.get_logs_dir_path()) if node else Path("/tmp/ray/session_latest/logs")
