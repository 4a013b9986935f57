"""Every method over HTTP against a served model, and all of them on one page.

The model is random and so is nearly never right; the server, the calls, the books and the report are real. A server
that answers every question wrongly stands beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from sprint.card import Instruction, Method, ModelCard
from sprint.evals.config import EvalConfig, MethodName, ReportConfig
from sprint.evals.report import make_report
from sprint.evals.results import read_results
from sprint.evals.run import evaluate
from tests.edge.local_server import Handler, LocalServer
from tests.edge.serving import served

METHODS = [name for name in get_args(MethodName) if name != "auto"]
NUM_PROBLEMS, MAX_TOKENS, VOTES = 4, 24, 3


class Wrong(Handler):
    """Says 0 to everything."""

    def do_GET(self) -> None:  # noqa: N802
        self.send(200, json.dumps({"data": [{"id": "wrong"}]}).encode())

    def do_POST(self) -> None:  # noqa: N802
        self.body()
        choice = {"message": {"content": "It is \\boxed{0}."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 5}
        self.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run files of all methods, and of the wrong server."""
    out = tmp_path_factory.mktemp("runs")
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder)
    with served(folder, context_tokens=4096) as service:
        files = {method: asked(out, method, f"{service.url}/v1", method=method) for method in METHODS}
    with LocalServer(Wrong) as server:
        files["wrong"] = asked(out, "wrong", f"http://{server.address}/v1", method="sequential")
    return files


def asked(out: Path, label: str, base_url: str, method: str) -> Path:
    options: dict[str, Any] = {"task": "countdown", "n": NUM_PROBLEMS, "max_tokens": MAX_TOKENS, "votes": VOTES}
    options |= {"out": out / f"{label}.jsonl", "label": label, "base_url": base_url, "method": method}
    config = EvalConfig.model_validate(options | ({"temperature": 0.6} if method == "self-consistency" else {}))
    evaluate(config)
    return config.out


@pytest.mark.slow  # a server starts
def test_every_method_answers_the_same_problems_and_counts_what_it_cost(runs: dict[str, Path]) -> None:
    asked_first = [result.id for result in read_results(runs["sprint"])]
    for method in METHODS:
        results = read_results(runs[method])
        assert [result.id for result in results] == asked_first
        for result in results:
            assert (result.method, result.error) == (method, "")
            assert result.usage is not None
            assert 0 < result.usage.pipelined_tokens <= result.usage.generated_tokens
            assert result.usage.num_calls >= {"self-consistency": VOTES, "sot-chat": 2, "sot-reasoning": 2}.get(
                method, 1
            )


@pytest.mark.slow
def test_one_report_holds_all_methods_and_the_wrong_solver_scores_nothing(runs: dict[str, Path]) -> None:
    report = make_report(ReportConfig.model_validate({"runs": list(runs.values())}))
    summaries = [one.summary for one in report.findings]
    assert [one.label for one in summaries] == list(runs)
    assert [one.num_answered for one in summaries] == [NUM_PROBLEMS] * len(runs)
    assert (summaries[-1].num_correct, summaries[-1].accuracy) == (0, 0.0)
    assert report.baseline == METHODS.index("rft")
    assert len(report.comparisons) == len(runs) - 1
