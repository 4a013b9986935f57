"""The service on a cluster whose machines die under load: every request is answered, and as the model's script says.

Models run on two machines of the pool `gpu`, planner and door on another one. Figures are printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.service_script import ENGINE_ENVIRONMENT, MODEL, Asked, Stage, scripted_engine, stage
from benchmarks.structures import Structure
from sprint.evals.results import read_results
from sprint.files import write_jsonl
from sprint.usage import RoundCounts
from tests.edge.cluster_networks import may_isolate
from tests.edge.cluster_nodes import BIN, Cluster, Node, cluster
from tests.edge.test_serve_chaos import Heard, ask, verdict

CLIENTS, QUESTIONS = 6, 400
ANSWER_S, RECOVERY_S, CALM_S = 240.0, 400.0, 5.0
LENGTHS = (RoundCounts(90, (40, 80), (220, 180)), RoundCounts(60, (50,), (160,)))
PORT = 8000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(not may_isolate(), reason="needs root: each machine has the port of the service"),
]


class Place:
    """The service as `serve deploy` left it."""

    def __init__(self, nodes: Cluster, staged: Stage) -> None:
        self.nodes, self.staged = nodes, staged
        self.url = f"http://{nodes.nodes['head'].address}:{PORT}"
        self._left = list(staged.questions)

    def chat(self, asked: Asked, **values: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": asked.question}]}
        return body | {"temperature": 0, "sprint": {"mode": "parallel"}} | values

    def with_model(self) -> Node:
        """A living machine of the pool `gpu`, the one that has been there longest."""
        return next(node for node in self.nodes.nodes.values() if node.is_up and node.name not in ("head", "node3"))

    def questions(self, count: int) -> list[Asked]:
        """Some that nobody has asked yet."""
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    async def ready(self, client: httpx.AsyncClient, replicas: int = 2) -> None:
        """Until so many replicas answer."""
        async with asyncio.timeout(RECOVERY_S):
            while await self._replicas(client) < replicas:
                await asyncio.sleep(0.5)

    async def _replicas(self, client: httpx.AsyncClient) -> float:
        try:
            text = (await client.get(f"{self.url}/metrics")).text
        except httpx.HTTPError:
            return 0
        lines = [line for line in text.splitlines() if line.startswith("sprint_pool_replicas{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("models") / "scripted"
    folder.mkdir()
    structures = [Structure(f"question {number}", 16, LENGTHS, 40) for number in range(QUESTIONS)]
    staged = stage(folder, structures, 2, 64, seed=0)
    with cluster("gpu", "gpu", "curation", environment=ENGINE_ENVIRONMENT) as nodes:
        deploy(nodes, staged)
        served = Place(nodes, staged)
        asyncio.run(_ready(served))
        yield served


async def _ready(place: Place) -> None:
    async with httpx.AsyncClient() as client:
        await place.ready(client)


def deploy(nodes: Cluster, staged: Stage) -> None:
    """What a user does, with a small file."""
    scaling = {"min_replicas": 2, "max_replicas": 2, "initial_replicas": 2}
    model = {"model": str(staged.folder), "name": MODEL, "context_tokens": staged.context_tokens, "kv_cache_mib": 64}
    args = model | scaling | {"engine": scripted_engine(staged), "nodes": {"sprint/pool": "gpu"}}
    elsewhere = {"num_cpus": 0.1, "label_selector": {"sprint/pool": "curation"}}
    placed: list[dict[str, Any]] = [{"name": name, "ray_actor_options": elsewhere} for name in ("Planner", "Ingress")]
    placed.append({"name": "VLLMServer", "max_replicas_per_node": 1})
    app: dict[str, Any] = {"name": "sprint", "route_prefix": "/", "import_path": "serve_app.app:build", "args": args}
    app["deployments"] = placed
    door = {"host": "0.0.0.0", "port": PORT}
    file = nodes.folder / "serve.yaml"
    file.write_text(json.dumps({"proxy_location": "EveryNode", "http_options": door, "applications": [app]}))
    for _ in range(20):
        said = nodes.run([str(BIN / "serve"), "deploy", str(file)], RAY_DASHBOARD_ADDRESS=nodes.dashboard)
        if not said.returncode:
            return
        time.sleep(1)
    raise AssertionError(said.stdout + said.stderr)


# --- a machine with a model ------------------------------------------------------------------------------------------


async def under_load(place: Place, strike: Callable[[httpx.AsyncClient], Awaitable[None]]) -> list[tuple[Asked, Any]]:
    """Clients that ask again and again until a while after the blow; what each question was told."""
    heard: list[tuple[Asked, Any]] = []
    over = asyncio.Event()

    async def keep_asking(client: httpx.AsyncClient, number: int) -> None:
        while not over.is_set():
            [asked] = place.questions(1)
            told = await asyncio.gather(ask(client, place, asked, number % 2 == 0), return_exceptions=True)  # type: ignore[arg-type]
            heard.append((asked, told[0]))

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=ANSWER_S, limits=limits) as client, asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(keep_asking(client, number))
        await asyncio.sleep(CALM_S)
        await strike(client)
        await asyncio.sleep(CALM_S)
        over.set()
    return heard


def told(heard: list[tuple[Asked, Any]], what: str) -> Counter[str]:
    """What became of the questions, which is also printed."""
    counts = Counter(verdict(asked, each) for asked, each in heard)
    slowest = max(each.took_s for _, each in heard if isinstance(each, Heard))
    print(f"\n{what}: {dict(counts)}, the slowest answer after {slowest:.1f} s")
    return counts


@pytest.mark.parametrize("silently", [False, True])
def test_a_machine_with_a_model_dies_and_every_request_is_answered(place: Place, silently: bool) -> None:
    """Silently: its cable is pulled, so nobody is told. Another machine is there to take its place."""
    place.nodes.add("gpu")

    async def strike(client: httpx.AsyncClient) -> None:
        victim = place.with_model()
        if silently:
            victim.cut()
        victim.kill()
        await asyncio.sleep(CALM_S)
        await place.ready(client)

    heard = asyncio.run(under_load(place, strike))
    counts = told(heard, "a machine with a model died" + " silently" * silently)
    assert set(counts) == {"answered"}


def test_an_evaluation_outlives_a_machine_with_a_model(place: Place, tmp_path: Path) -> None:
    place.nodes.add("gpu")
    questions = place.questions(40)
    rows = [{"id": str(i), "question": one.question, "answer": one.answer} for i, one in enumerate(questions)]
    write_jsonl(tmp_path / "asked.jsonl", rows)
    out = tmp_path / "out.jsonl"
    words = ["evaluate", "--data", str(tmp_path / "asked.jsonl"), "--out", str(out), "--base-url", f"{place.url}/v1"]
    job = place.nodes.submit([sys.executable, "-m", "sprint.cli", *words, "--concurrency", "4"], "evaluate")
    job.until(lambda: out.exists() and out.read_bytes().count(b"\n") >= 5)
    place.with_model().kill()
    job.end()
    results = read_results(out)
    assert [(result.id, result.answer) for result in results] == [(row["id"], row["answer"]) for row in rows]
