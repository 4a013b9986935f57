"""The two servers that the service benchmark compares, each as a child process, and what their processes use.

Both get the same model and the same engine arguments. It knows how they are started, told apart and stopped, and
nothing of what is asked of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.service_script import ENGINE_ENVIRONMENT, MODEL, Stage, scripted_engine
from serve_app.config import AppConfig
from serve_app.pools.vllm_server import CPU_ENVIRONMENT, ENVIRONMENT
from sprint.steps import free_port

ROOT = Path(__file__).parents[1]
START_S, STOP_S = 240.0, 60.0
PROGRAM = ("-m", "sprint.cli", "serve", "--config")
# What a process is, by what its command line holds. The first that fits counts.
_KINDS = {
    "EngineCore": "engine",
    "VLLMServer": "replica",
    "Planner": "planner",
    "Ingress": "ingress",
    "Proxy": "proxy",
    "api_server": "front end",
    "ServeController": "ray",
    "ray": "ray",
}


@dataclass(frozen=True, slots=True)
class Use:
    """What a server's processes have used: CPU seconds so far and MiB of memory now, by kind of process."""

    cpu_s: Mapping[str, float]
    memory_mib: Mapping[str, float]


class Server:
    """A server under way. `url` has no trailing slash."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], url: str) -> None:
        self.name, self.url = name, url
        self._process = process

    def use(self) -> Use:
        """Memory that several processes share counts for each by its part."""
        cpu_s, memory_mib = Counter[str](), Counter[str]()
        for process in self._tree():
            try:
                kind, times = _kind(process), process.cpu_times()
                memory = process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
            cpu_s[kind] += times.user + times.system
            memory_mib[kind] += memory / (1 << 20)
        return Use(dict(cpu_s), dict(memory_mib))

    def wait(self, ready: Callable[[], bool]) -> None:
        """Returns once it is ready. Raises RuntimeError when it ends or takes too long."""
        deadline = time.monotonic() + START_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server {self.name!r} did not start")
            time.sleep(0.5)

    def stop(self) -> None:
        started = self._tree()
        self._process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(started, timeout=STOP_S)
        for process in left:
            process.kill()

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _kind(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    return next((kind for part, kind in _KINDS.items() if part in command), "ray")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# --- starting --------------------------------------------------------------------------------------------------------


def app_config(staged: Stage, **options: Any) -> AppConfig:
    """How the service is configured; the raw server gets what follows for the engine from it."""
    engine = scripted_engine(staged)
    return AppConfig(model=staged.folder, name=MODEL, context_tokens=staged.context_tokens, engine=engine, **options)


@contextmanager
def ours(config: AppConfig, folder: Path, program: Sequence[str] = PROGRAM) -> Iterator[Server]:
    """The service, as `sprint serve` starts it, or another program that takes the file with its configuration."""
    port, ready, file = free_port(), folder / "ready", folder / "serve.yaml"
    ready.unlink(missing_ok=True)
    values = config.model_dump(mode="json", exclude_defaults=True) | {"port": port, "ready_file": str(ready)}
    file.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    with _started("ours", [*program, str(file)], port, folder) as server:
        server.wait(ready.exists)
        yield server


@contextmanager
def raw(config: AppConfig, folder: Path) -> Iterator[Server]:
    """vLLM's own OpenAI server with the engine arguments that our replicas use."""
    from serve_app.app import engine_args  # which imports Ray

    port = free_port()
    flags = list(_flags(engine_args(config, config.context_tokens or 0)))
    own = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", MODEL, "--disable-uvicorn-access-log"]
    with _started("raw", ["-m", "vllm.entrypoints.openai.api_server", *flags, *own], port, folder) as server:
        server.wait(lambda: _answers(f"{server.url}/v1/models"))
        yield server


def _flags(args: Mapping[str, Any]) -> Iterator[str]:
    """Engine arguments as vLLM's command line takes them."""
    for name, value in args.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag[2:]}"
        elif isinstance(value, list):
            yield from (flag, *map(str, value))
        else:
            yield from (flag, json.dumps(value) if isinstance(value, dict) else str(value))


@contextmanager
def _started(name: str, args: list[str], port: int, folder: Path) -> Iterator[Server]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    settings = ENVIRONMENT | CPU_ENVIRONMENT | ENGINE_ENVIRONMENT | {"PYTHONPATH": paths}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *args], stdout=log, stderr=log, env=os.environ | settings, cwd=folder
        )
        server = Server(name, process, f"http://127.0.0.1:{port}")
        try:
            yield server
        finally:
            server.stop()
