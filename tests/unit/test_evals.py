"""Evaluation: the solver against a stub server, runs that stop and go on, what is refused."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sprint.config import load_config, validate
from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.evals.config import EvalConfig
from sprint.evals.results import read_results
from sprint.evals.run import _Evaluation
from sprint.evals.scorers import commonest_answer, samples, scorer
from sprint.evals.solvers import HttpSolver
from sprint.files import write_jsonl
from sprint.tasks import Grade
from sprint.usage import Usage

Handler = Callable[[httpx.Request], httpx.Response]

# --- solving and scoring ---------------------------------------------------------------------------------------------

SPAN = {"kind": "plan", "round": 1, "number": 0, "start_s": 0.0, "end_s": 1.0, "generated_tokens": 3}


def completion(text: str, usage: Usage | None = None) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "choices": [{"message": {"content": text, "reasoning_content": "thought"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": None},
    }
    if usage:
        told = {"usage": usage.as_dict(), "stop_reason": "answered", "method": "sprint", "timeline": [SPAN]}
        reply["sprint"] = told
    return reply


class Server:
    """A stub endpoint: answers what `reply` says, after refusing the first `busy` questions."""

    def __init__(self, reply: Callable[[dict[str, Any]], httpx.Response], busy: int = 0) -> None:
        self.reply, self.busy, self.bodies = reply, busy, list[dict[str, Any]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "tiny"}]})
        if self.busy:
            self.busy -= 1
            return httpx.Response(503, json={"error": {"message": "full"}})
        self.bodies.append(json.loads(request.content))
        return self.reply(self.bodies[-1])


def right(body: dict[str, Any]) -> httpx.Response:
    """Answers `What is N+1?`."""
    n = int(body["messages"][0]["content"].split()[-1].split("+")[0])
    return httpx.Response(200, json=completion(f"\\boxed{{{n + 1}}}", Usage(pipelined_tokens=5, generated_tokens=9)))


@pytest.fixture
def config(tmp_path: Path) -> EvalConfig:
    data = tmp_path / "data.jsonl"
    write_jsonl(data, [{"id": str(i), "question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(12)])
    return EvalConfig(out=tmp_path / "out.jsonl", data=data, model="tiny", concurrency=3, retries=2, timelines=2)


def run(config: EvalConfig, server: Handler) -> Any:
    solver = HttpSolver(config, transport=httpx.MockTransport(server), pause_s=0.0)
    return asyncio.run(_Evaluation(config, solver).run())


def test_every_problem_is_asked_once_and_written_in_order(config: EvalConfig) -> None:
    server = Server(right)
    summary = run(config, server)
    results = read_results(config.out)
    assert [result.id for result in results] == [str(i) for i in range(12)]
    assert len(server.bodies) == 12
    assert summary.num_correct == 12
    assert summary.counters["pipelined_tokens"] == 5


def test_timelines_are_asked_for_the_first_problems_only(config: EvalConfig) -> None:
    server = Server(right)
    run(config, server)
    assert sum(body["sprint"]["timeline"] for body in server.bodies) == config.timelines


def test_the_first_problems_are_asked_one_at_a_time_where_that_is_asked_for(config: EvalConfig) -> None:
    summary = run(config.model_copy(update={"alone": 4}), Server(right))
    assert [result.concurrency for result in read_results(config.out)] == [1] * 4 + [3] * 8
    assert summary.num_correct == 12


def test_a_busy_server_is_asked_again(config: EvalConfig) -> None:
    assert run(config, Server(right, busy=2)).num_correct == 12


def test_a_server_that_goes_away_stops_the_run_and_keeps_what_it_answered(config: EvalConfig) -> None:
    config = config.model_copy(update={"concurrency": 1})

    def gone(body: dict[str, Any]) -> httpx.Response:
        if "5+1" in body["messages"][0]["content"]:
            raise httpx.ConnectError("connection refused")
        return right(body)

    with pytest.raises(LLMUnavailable, match="--resume"):
        run(config, Server(gone))
    assert len(read_results(config.out)) == 5
    server = Server(right)
    assert run(config.model_copy(update={"resume": True}), server).num_correct == 12
    assert len(server.bodies) == 7


def test_a_refused_question_counts_as_wrong_and_as_not_answered(config: EvalConfig) -> None:
    def refuse(body: dict[str, Any]) -> httpx.Response:
        too_long = "3+1" in body["messages"][0]["content"]
        return httpx.Response(400, json={"error": {"message": "too long"}}) if too_long else right(body)

    summary = run(config, Server(refuse))
    assert (summary.num_answered, summary.num_correct, summary.num_samples) == (11, 11, 12)
    assert [result.error for result in read_results(config.out) if result.error] == [
        "http://127.0.0.1:8000/v1 refused the request: too long"
    ]


def test_failed_problems_are_asked_again_on_resume(config: EvalConfig) -> None:
    broken = iter([True])
    run(config, Server(lambda body: httpx.Response(500) if next(broken, False) else right(body)))
    server = Server(right)
    assert run(config.model_copy(update={"resume": True}), server).num_correct == 12
    assert len(server.bodies) == 1


def test_a_half_written_last_line_is_asked_again(config: EvalConfig) -> None:
    run(config, Server(right))
    whole = config.out.read_bytes()
    config.out.write_bytes(whole[:-20])
    server = Server(right)
    run(config.model_copy(update={"resume": True}), server)
    assert len(server.bodies) == 1
    assert [result.id for result in read_results(config.out)] == [str(i) for i in range(12)]


def test_nothing_is_overwritten_and_runs_are_not_mixed(config: EvalConfig) -> None:
    run(config, Server(right))
    with pytest.raises(ConfigError, match="already exists"):
        run(config, Server(right))
    with pytest.raises(ConfigError, match="another run"):
        run(config.model_copy(update={"resume": True, "seed": 1}), Server(right))


def test_a_plain_server_is_read_as_sequential_and_reports_no_cache(config: EvalConfig) -> None:
    summary = run(config, Server(lambda _: httpx.Response(200, json=completion("\\boxed{1}"))))
    assert summary.counters["pipelined_tokens"] == summary.counters["generated_tokens"] == 5
    assert summary.counters["cached_prompt_tokens"] is None
    assert summary.prefix_hit_rate is None
    assert summary.num_correct == 1


def test_an_unknown_model_is_named_with_those_there_are(config: EvalConfig) -> None:
    with pytest.raises(ConfigError, match="does not serve 'big', it serves tiny"):
        run(config.model_copy(update={"model": "big"}), Server(right))
    assert not config.out.exists()


def test_an_answer_of_another_shape_is_an_error_of_the_server(config: EvalConfig) -> None:
    with pytest.raises(LLMError, match="not a chat completion"):
        run(config, Server(lambda _: httpx.Response(200, json={"choices": []})))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected either a task"),
        ({"task": "chains", "data": "x"}, "expected either a task"),
        ({"task": "chains", "temperature": -1}, "temperature"),
        ({"task": "chains", "n": 0}, "'n'"),
        ({"task": "chains", "base_url": "localhost"}, "base_url"),
        ({"task": "chains", "tempreature": 0}, "unknown key 'tempreature'"),
    ],
)
def test_a_wrong_configuration_is_one_clear_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validate(EvalConfig, {"out": "x.jsonl", **values}, "options")
    assert "\n" not in str(caught.value)


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "eval.yaml"
    path.write_text("out: a.jsonl\ntask: chains\nn: 5\n")
    config = load_config(EvalConfig, path, {"n": 7, "seed": None})
    assert (config.n, config.seed, config.task) == (7, 0, "chains")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "1", "answer": "2"}, "'question' is None"),
        ({"id": "1", "question": " ", "answer": "2"}, "'question' is ' '"),
        ({"id": "1", "question": "q"}, "'answer' is None"),
        ({"question": "q", "answer": "2"}, "'id' is None"),
    ],
)
def test_a_row_that_is_no_problem_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = tmp_path / "data.jsonl"
    write_jsonl(path, [{"id": "0", "question": "q", "answer": "1"}, row])
    with pytest.raises(InputError, match=f"row 2: {message}"):
        samples(EvalConfig(out=tmp_path / "o", data=path))


def test_a_generated_task_poses_the_same_held_out_problems_again() -> None:
    config = EvalConfig(out=Path("o"), task="chains", n=5)
    first = samples(config)
    assert first == samples(config)
    assert len({sample.id for sample in first}) == 5
    score = scorer(config)
    assert score(first[0], f"so \\boxed{{{first[0].answer}}}").grade is Grade.CORRECT
    assert score(first[0], "no idea").grade is Grade.NO_ANSWER


def test_the_guess_is_the_commonest_training_answer(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"answer": ["3", "7", "7"]}), tmp_path / "part.parquet")
    assert commonest_answer(tmp_path) == "\\boxed{7}"
    with pytest.raises(InputError, match="does not exist"):
        commonest_answer(tmp_path / "absent")
