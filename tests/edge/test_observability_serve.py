"""Observability through the real deployments: one id in the logs of all processes, and counts at Ray's own agent."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sprint.card import Method
from sprint.local_ray import ray_session
from sprint.steps import free_port
from tests.edge.otlp import Collector, collector
from tests.edge.scripted_planner import ScriptedPlanner

PATIENCE_S = 60


@dataclass(frozen=True)
class Served:
    """The deployed application: where it answers, where Ray keeps its logs, and where its agent tells its metrics."""

    url: str
    logs: Path
    agent: str
    traces: Collector

    def ask(self, request_id: str) -> httpx.Response:
        body = {"model": "scripted", "messages": [{"role": "user", "content": "question"}], "temperature": 0}
        headers = {"x-request-id": request_id}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def lines(self, request_id: str) -> list[str]:
        """Every line that any process of this Ray has logged with this id."""
        texts = [path.read_text(errors="replace") for path in self.logs.rglob("*") if path.is_file()]
        return [line for text in texts for line in text.splitlines() if request_id in line]


def until(condition: Callable[[], Any]) -> Any:
    for _ in range(PATIENCE_S * 5):
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    import ray
    from ray import serve

    from serve_app.api.ingress import HttpConfig, Ingress
    from serve_app.app import QUIET

    port = free_port()
    with collector() as traces, ray_session(4):
        environment = {"env_vars": {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}}
        options = {"num_cpus": 0.1, "runtime_env": environment}
        both = {"logging_config": QUIET, "ray_actor_options": options}
        planner = serve.deployment(ScriptedPlanner, name="Planner", **both)
        ingress = serve.deployment(serve.ingress()(Ingress), name="Ingress", **both)
        try:
            door = {"host": "127.0.0.1", "port": port}
            serve.start(proxy_location="HeadOnly", http_options=door, logging_config=QUIET)
            http = HttpConfig(ray_metrics=True)
            serve.run(ingress.bind(planner.bind(), "scripted", Method.SPRINT, http), name="observed", route_prefix="/")
            node = ray.nodes()[0]
            agent = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
            yield Served(f"http://127.0.0.1:{port}", session / "logs", agent, traces)
        finally:
            serve.shutdown()


def test_one_id_joins_the_lines_of_all_processes_and_none_is_there_twice(served: Served) -> None:
    request_id = f"joined-{os.getpid()}"
    answer = served.ask(request_id)
    assert answer.headers["x-request-id"] == request_id
    calls = answer.json()["sprint"]["usage"]["num_calls"]
    until(lambda: len(served.lines(request_id)) > calls)
    lines = [json.loads(line) for line in served.lines(request_id)]
    assert {line["request_id"] for line in lines} == {request_id}
    assert sorted(line["deployment"] for line in lines) == ["Ingress"] + ["Planner"] * calls
    (access,) = [line for line in lines if line["deployment"] == "Ingress"]
    assert (access["status"], access["rounds"]) == (200, 1)


def test_an_id_that_is_not_taken_goes_back_alone_and_the_log_says_which_took_its_place(served: Served) -> None:
    request_id = f"not taken {os.getpid()}"
    assert served.ask(request_id).headers.get_list("x-request-id") == [request_id]
    (line,) = until(lambda: served.lines(request_id))
    assert re.fullmatch(r"[0-9a-f]{32}", json.loads(line)["request_id"])


def test_rays_agent_tells_the_same_numbers(served: Served) -> None:
    tokens = sum(served.ask("x").json()["sprint"]["usage"]["generated_tokens"] for _ in range(2))
    own = httpx.get(f"{served.url}/metrics", timeout=30).text
    (total,) = re.findall(r"^sprint_generated_tokens_total (\S+)", own, re.M)
    assert float(total) >= tokens

    def told() -> bool:
        text = httpx.get(served.agent, timeout=30).text
        return re.findall(r"^ray_sprint_generated_tokens_total\{[^}]*\} (\S+)", text, re.M) == [total]

    until(told)
    text = httpx.get(served.agent, timeout=30).text
    assert re.search(r'^ray_sprint_rollout_seconds_bucket\{[^}]*le="\+Inf"', text, re.M)


def test_a_request_of_the_deployed_service_is_one_trace(served: Served) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    body = {"model": "scripted", "messages": [{"role": "user", "content": "question"}]}
    assert httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code == 200

    def names() -> list[str]:
        return sorted(span.name for span in served.traces.spans if span.trace_id.hex() == trace)

    until(names)
    assert {"POST /v1/chat/completions", "rollout", "round 1", "plan", "execution 2", "join 1"} <= set(until(names))
