"""A Ray cluster on one machine: a head without work and nodes that can be killed as machines are.

Where root may, each node has namespaces of its own: an address on a bridge, ports of its own, and processes that
all die at once with the first; `cut` pulls its cable, so that its peers hear nothing more. Elsewhere nodes are plain
processes on 127.0.0.1 (`tests.edge.cluster_networks`). It knows Ray's command line, and nothing of what runs on nodes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.edge.cluster_networks import Bridge, Network, ip, may_isolate

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
POOL = "sprint/pool"  # the label by which stages find their nodes
PATIENCE_S = 180.0  # the machine may be busy; nothing that happens takes so long
STORE_BYTES = 100_000_000


@dataclass
class Node:
    """One machine: its place in the network, and the process that all its others die with."""

    name: str
    address: str
    cable: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def is_up(self) -> bool:
        """Whether it has joined the cluster, and lives."""
        return self.process.poll() is None and "will now block" in self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to everything that runs on it; nothing where it is dead."""
        family = [] if self.cable else _family(self.process.pid)
        self.process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def cut(self) -> None:
        """Pulls the cable: whoever talks to it hears neither an answer nor an end."""
        assert self.cable, "only a node with a network of its own has a cable"
        ip("link", "set", self.cable, "down")


@dataclass
class Cluster:
    """What runs. `dashboard` is where jobs and services go; `environment` is that of every command and node."""

    folder: Path
    network: Network
    environment: dict[str, str]
    nodes: dict[str, Node] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.nodes['head'].address}:{self.ports['port']}"

    @property
    def dashboard(self) -> str:
        return f"http://{self.nodes['head'].address}:{self.ports['dashboard-port']}"

    def start_head(self) -> None:
        """A node without CPUs, where jobs are told what to do and the dashboard listens."""
        names = ["port", "dashboard-port", "dashboard-agent-listen-port"]
        self.ports = dict(zip(names, self.network.ports(3), strict=True))
        told = [f"--{name}={port}" for name, port in self.ports.items()]
        head = ["--head", "--num-cpus=0", f"--temp-dir={self.folder / 'ray'}", "--dashboard-host=0.0.0.0"]
        self._start("head", [*head, "--include-dashboard=true", *told])

    def add(self, pool: str, cpus: float = 2) -> Node:
        """One more node, once it is there. Their names are node1, node2 …

        It dies with the thread that calls this, so that a test that is killed leaves none behind.
        """
        name = f"node{len(self.nodes)}"
        return self._start(name, [f"--address={self.address}", f"--num-cpus={cpus:g}", f"--labels={POOL}={pool}"])

    def _start(self, name: str, words: Sequence[str]) -> Node:
        """Ray gives a node thirty seconds to start, which a busy machine may not have, so it is tried again."""
        address, cable, prefix = self.network.place(name)
        log = self.folder / f"{name}.log"
        command = [*prefix, str(BIN / "ray"), "start", "--block", f"--node-ip-address={address}", *words]
        command += [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats", "--include-log-monitor=false"]
        for _ in range(4):
            with log.open("wb") as file:
                process = subprocess.Popen(command, stdout=file, stderr=file, env=self.environment, cwd=ROOT)
            node = self.nodes[name] = Node(name, address, cable, log, process)
            deadline = time.monotonic() + PATIENCE_S
            while not node.is_up and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            if node.is_up:
                return node
            node.kill()
        raise AssertionError(f"{name} did not start: {log.read_text()[-3000:]}")

    def run(self, words: Sequence[str], **values: str) -> subprocess.CompletedProcess[str]:
        """Runs a command on the head to its end."""
        told = {"env": self.environment | values, "cwd": ROOT, "capture_output": True, "text": True}
        return subprocess.run([*self.on_head, *words], check=False, timeout=900, **told)  # type: ignore[call-overload,no-any-return]

    @property
    def on_head(self) -> list[str]:
        return self.network.enter("head")

    def submit(self, words: Sequence[str], job: str) -> Job:
        """Sends a command as a job, and follows it. A dashboard that has just started may have no agent yet."""
        send = [
            str(BIN / "ray"),
            "job",
            "submit",
            f"--address={self.dashboard}",
            f"--submission-id={job}",
            "--",
            *words,
        ]
        path = self.folder / f"{job}.said"
        for _ in range(20):
            with path.open("wb") as file:
                process = subprocess.Popen(send, stdout=file, stderr=file, env=self.environment, cwd=ROOT)
            followed = Job(process, path)
            if not followed.refused():
                break
            time.sleep(1)
        return followed


@dataclass
class Job:
    """A job under way, as whoever submitted it sees it."""

    process: subprocess.Popen[bytes]
    path: Path

    @property
    def said(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def refused(self) -> bool:
        """Whether no agent took it; waits until that is known."""
        while self.process.poll() is None and "Job submission server address" not in self.said:
            time.sleep(0.1)
        while self.process.poll() is None and "submitted successfully" not in self.said:
            time.sleep(0.1)
        return self.process.poll() is not None and "No available agent" in self.said

    def until(self, true: Callable[[], bool]) -> None:
        """Waits for something that happens before the job ends."""
        deadline = time.monotonic() + PATIENCE_S * 2
        while not true():
            assert self.process.poll() is None, f"ended too early: {self.said[-3000:]}"
            assert time.monotonic() < deadline, f"it did not happen: {self.said[-3000:]}"
            time.sleep(0.05)

    def end(self, seconds: float = 900) -> str:
        """What it said, once it has ended well."""
        self.process.wait(timeout=seconds)
        assert self.process.returncode == 0, self.said[-4000:]
        return self.said


@contextmanager
def cluster(*pools: str, cpus: float = 2, environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A head and a node for each pool, called node1, node2 …, all alive. Token authentication is on."""
    told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "PYTHONPATH": str(ROOT)}
    quiet = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    quiet["RAY_worker_niceness"] = "0"  # Ray's usual 15 gets hardly a turn where anything else runs
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    folder = Path(tempfile.mkdtemp(prefix="spr", dir="/tmp"))  # short: Ray makes socket files in it
    network = Bridge() if may_isolate() else Network()
    made = Cluster(folder, network, inherited | told | quiet | dict(environment or {}))
    try:
        network.open()
        made.start_head()
        for pool in pools:
            made.add(pool, cpus)
        yield made
    finally:
        for node in made.nodes.values():
            node.kill()
        network.close()
        shutil.rmtree(folder, ignore_errors=True)


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children(recursive=True))
    return []
