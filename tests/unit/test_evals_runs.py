"""Runs: samples and seeds, budgets, stopping anywhere and going on, and the order of the file."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.evals.config import EvalConfig, JudgeConfig
from sprint.evals.endpoint import read_answer
from sprint.evals.jobs import Plan
from sprint.evals.progress import Progress
from sprint.evals.record import Record
from sprint.evals.results import Result, read_results
from sprint.evals.run import Stopped, _Evaluation
from sprint.evals.scorers import Sample
from sprint.evals.solvers import HttpSolver
from sprint.files import read_jsonl, write_jsonl
from tests.unit.scripted_endpoint import ScriptedEndpoint, completion, config_of, guess, run


def resumed(config: EvalConfig, **options: Any) -> EvalConfig:
    return config.model_copy(update={"resume": True, **options})


# --- samples and seeds -----------------------------------------------------------------------------------------------


def test_every_problem_is_answered_so_often_for_each_seed(tmp_path: Path) -> None:
    config = config_of(tmp_path, temperature=0.5, samples=3, seeds=[5, 9])
    endpoint = ScriptedEndpoint(guess)
    run(config, endpoint)
    results = read_results(config.out)
    assert [(result.id, result.sample) for result in results] == [(str(i), n) for i in range(6) for n in range(1, 7)]
    assert [result.sampling_seed for result in results[:2]] == [5, 9]
    assert len({result.sampling_seed for result in results[:6]}) == 6
    assert sorted(body["seed"] for body in endpoint.bodies[:12]) == [5] * 6 + [9] * 6  # all problems once come first


def test_more_samples_leave_those_that_there_are_as_they_are() -> None:
    problems = [Sample(str(i), "q", "a") for i in range(3)]
    few, many = Plan(problems, (4, 5), 1), Plan(problems, (4, 5), 3)
    assert [(job.key, job.seed) for job in few] == [(job.key, job.seed) for job in many][: len(few)]
    assert sorted(job.place for job in many) == list(range(len(many)))
    assert [many[many.turn_of(place)].place for place in range(len(many))] == list(range(len(many)))


def test_samples_can_be_added_to_a_finished_run(tmp_path: Path) -> None:
    config = config_of(tmp_path, temperature=0.5)
    run(config, ScriptedEndpoint(guess))
    endpoint = ScriptedEndpoint(guess)
    run(resumed(config, samples=2), endpoint)
    assert len(endpoint.bodies) == 6
    fresh = config_of(tmp_path, temperature=0.5, samples=2, out=tmp_path / "fresh.jsonl")
    run(fresh, ScriptedEndpoint(guess))
    assert config.out.read_text() == fresh.out.read_text()


def test_a_line_holds_what_its_numbers_are_computed_from(tmp_path: Path) -> None:
    config = config_of(tmp_path, temperature=0.5, method="self-consistency", votes=3, seed=2, label="votes")
    run(config, ScriptedEndpoint(guess))
    for row in read_jsonl(config.out):
        told = {"method": "self-consistency", "votes": 3, "top_p": 1.0, "max_tokens": 4096, "seeds": [2]}
        assert told.items() <= row["sampling"].items()
        assert (row["model"], row["label"], row["seed"], row["sampling_seed"], row["sample"]) == (
            "tiny",
            "votes",
            2,
            2,
            1,
        )
        lengths = [call["generated_tokens"] for call in row["calls"]]
        assert (row["usage"]["pipelined_tokens"], row["usage"]["generated_tokens"]) == (max(lengths), sum(lengths))
        assert all(call["seed"] is not None for call in row["calls"])


def test_what_was_thought_is_kept_only_where_it_is_wanted(tmp_path: Path) -> None:
    def thinking(body: dict[str, Any]) -> str:
        return "they are 4 and 1"

    for reasoning in (True, False):
        config = config_of(
            tmp_path, temperature=0.5, method="sot-chat", reasoning=reasoning, out=tmp_path / f"{reasoning}.jsonl"
        )
        run(config, ScriptedEndpoint(thinking))
        assert all(bool(result.reasoning) is reasoning for result in read_results(config.out))


# --- stopping and going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"method": "self-consistency", "votes": 3}, {"alone": 4}])
def test_a_run_stopped_anywhere_and_gone_on_with_gives_the_file_of_an_undisturbed_one(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    calm = config_of(tmp_path, temperature=0.5, count=20, samples=3, out=tmp_path / "calm.jsonl", **options)
    run(calm, ScriptedEndpoint(guess))
    for seed in range(6):
        dice = random.Random(seed)
        config = calm.model_copy(update={"out": tmp_path / f"{seed}.jsonl", "concurrency": 8})
        stops = 0
        while True:
            endpoint = ScriptedEndpoint(guess, lives=dice.randrange(0, 90), jitter=dice)
            try:
                run(config, endpoint)
                break
            except LLMUnavailable:
                stops += 1
            if config.out.exists():
                if dice.random() < 0.5:  # killed while it wrote
                    config.out.write_bytes(config.out.read_bytes()[: -dice.randrange(1, 200)])
                config = resumed(config)
        assert _but_concurrency(config.out) == _but_concurrency(calm.out), f"seed {seed}, {stops} stops"


def _but_concurrency(path: Path) -> list[dict[str, Any]]:
    return [row | {"concurrency": None} for row in read_jsonl(path)]


def test_an_interrupted_run_keeps_what_was_answered(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=20, concurrency=2)

    def reply(body: dict[str, Any]) -> str:
        if "15+1" in body["messages"][0]["content"]:
            raise KeyboardInterrupt
        return guess(body)

    with pytest.raises(KeyboardInterrupt):
        run(config, ScriptedEndpoint(reply))
    kept = read_results(config.out)
    assert 10 <= len(kept) <= 15
    endpoint = ScriptedEndpoint(guess)
    run(resumed(config), endpoint)
    assert len(endpoint.bodies) == 20 - len(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rft"}, "holds another run"),
        ({"max_tokens": 5}, "holds another run"),
        ({"temperature": 0.7}, "holds another run"),
        ({"seeds": [0, 1]}, "holds another run"),
        ({"n": 3}, "which this run does not ask for"),
    ],
)
def test_a_file_of_other_settings_is_not_gone_on_with(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    config = config_of(tmp_path)
    run(config, ScriptedEndpoint(guess))
    before = config.out.read_bytes()
    with pytest.raises(ConfigError, match=message):
        run(resumed(config, **options), ScriptedEndpoint(guess))
    assert config.out.read_bytes() == before


# --- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "prices", "message"),
    [
        ({"tokens": 150}, {}, "of at most 150 tokens are used"),
        ({"cost": 1e-4}, {"prompt": 1.0, "output": 1.0}, r"of at most 0\.0001 is spent"),
    ],
)
def test_a_budget_stops_a_run_that_can_be_gone_on_with(
    tmp_path: Path, budget: dict[str, Any], prices: dict[str, Any], message: str
) -> None:
    config = config_of(tmp_path, count=40, budget=budget, prices=prices)
    first = ScriptedEndpoint(guess)
    with pytest.raises(Stopped, match=message):
        run(config, first)
    assert 0 < len(first.bodies) < 40
    kept = read_results(config.out)
    assert [int(result.id) for result in kept] == sorted(int(result.id) for result in kept)
    with pytest.raises(Stopped, match=message):  # what is spent stays spent
        run(resumed(config), ScriptedEndpoint(guess))
    more = type(config.budget).model_validate({"tokens": 10_000_000})
    second = ScriptedEndpoint(guess)
    run(resumed(config, budget=more), second)
    assert len(first.bodies) + len(second.bodies) == 40


def test_seconds_are_a_budget_of_the_clock(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=40, budget={"seconds": 10})
    ticks: Iterator[int] = iter(range(1000))
    endpoint = ScriptedEndpoint(guess)
    solver = HttpSolver(config, transport=httpx.MockTransport(endpoint), pause_s=0.0)
    with pytest.raises(Stopped, match="of at most 10 seconds are over"):
        asyncio.run(_Evaluation(config, solver, clock=lambda: float(next(ticks))).run())
    assert 0 < len(endpoint.bodies) < 40


def test_a_run_that_ends_within_its_budget_is_not_stopped(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=3, budget={"tokens": 1}, concurrency=3)
    assert run(config, ScriptedEndpoint(guess)).num_samples == 3  # all were in flight when it was used up


# --- the file --------------------------------------------------------------------------------------------------------


def test_lines_are_put_in_order_whatever_breaks_of_line_they_hold(tmp_path: Path) -> None:
    odd = ["a\u2028b", "c\x85d", "e\r\nf", "g\u2029", "\x0c", "é" * 3]
    with Record(tmp_path / "r.jsonl", len(odd)) as record:
        for place in (3, 0, 5, 1, 4, 2):
            record.add(place, {"text": odd[place]})
        record.finish()
    assert [row["text"] for row in read_jsonl(tmp_path / "r.jsonl")] == odd


def test_a_record_is_gone_on_with_from_any_cut(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    whole = b"".join(json.dumps({"place": place}).encode() + b"\n" for place in (2, 0, 1))
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Record(path, 3) as record:
            record.resume(lambda row, number: int(row["place"]))
            known = [place for place in range(3) if place in record]
            assert len(known) == whole[:cut].count(b"\n")
            for place in {0, 1, 2} - set(known):
                record.add(place, {"place": place})
            record.finish()
        assert [row["place"] for row in read_jsonl(path)] == [0, 1, 2]


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for content in (b"[1]\n", b"no json\n"):
        path.write_bytes(content)
        with Record(path, 3) as record, pytest.raises(InputError, match=r"r\.jsonl line 1"):
            record.resume(lambda row, number: 0)
        assert path.read_bytes() == content


def test_progress_says_what_is_left_at_the_pace_so_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 0.0, *(10.0 * (i + 1) for i in range(10))])
    result = Result("1", "q", "a", "sums", "tiny", "tiny")
    with Progress("sums", 10, clock=lambda: next(seconds)) as progress:
        progress.add(result)
        progress.add(result)
    said = capsys.readouterr().out.splitlines()
    assert said == ["sums · 0 correct 1/10, about 2 min left", "sums · 0 correct 2/10, about 80 s left"]


@pytest.mark.parametrize("method", ["auto", "sequential", "self-consistency", "sot-chat"])
def test_a_deliberately_wrong_solver_scores_nothing_by_any_method(tmp_path: Path, method: str) -> None:
    config = config_of(tmp_path, temperature=0.5, method=method, votes=3)
    summary = run(config, ScriptedEndpoint(lambda body: "1. it is\n2. so \\boxed{-7}"))
    assert (summary.num_correct, summary.num_answered, summary.accuracy) == (0, 6, 0.0)


# --- resuming and judges ---------------------------------------------------------------------------------------------


def test_a_run_is_not_gone_on_with_when_its_ids_stand_for_other_problems(tmp_path: Path) -> None:
    run(config_of(tmp_path), ScriptedEndpoint(guess))
    rows = [{"id": str(i), "question": f"What is {i}+1?", "answer": "0"} for i in range(6)]
    write_jsonl(tmp_path / "data.jsonl", rows)
    config = EvalConfig.model_validate(
        {"out": tmp_path / "out.jsonl", "data": tmp_path / "data.jsonl", "model": "tiny", "resume": True}
    )
    with pytest.raises(ConfigError, match="holds another problem '0' than the one that is posed now"):
        run(config, ScriptedEndpoint(guess))


@pytest.mark.parametrize(("error", "alone"), [(LLMUnavailable, 0), (LLMUnavailable, 6), (LLMError, 0), (LLMError, 6)])
def test_a_judge_that_fails_stops_a_run_that_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[LLMError], alone: int
) -> None:
    judge = {"base_url": "http://judge/v1", "model": "wise"}
    calls: list[str] = []

    def reconsider(self: Any, sample: Any, text: str, score: Any) -> Any:
        calls.append(sample.id)
        if len(calls) == 3:
            raise error("the judge is away")
        return score

    monkeypatch.setattr("sprint.evals.judge.Judge.reconsider", reconsider)
    config = config_of(tmp_path, judge=judge, alone=alone)
    with pytest.raises(error, match=r"the judge is away; what was answered is kept in .*, go on with --resume"):
        run(config, ScriptedEndpoint(guess))
    assert 2 <= len(read_results(config.out)) < 6
    unjudged = config.model_copy(update={"resume": True, "judge": JudgeConfig(base_url="")})
    with pytest.raises(ConfigError, match="holds another run"):
        run(unjudged, ScriptedEndpoint(guess))
    summary = run(config.model_copy(update={"resume": True}), ScriptedEndpoint(guess))
    assert summary.num_answered == 6
    assert len(calls) <= 6 + 3  # what was in flight is judged again, and nothing else


def test_the_majority_guess_is_graded_without_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet, table

    parquet.write_table(table({"answer": ["1", "1", "2"]}), tmp_path / "train.parquet")
    seen: list[str] = []

    def reconsider(self: Any, sample: Any, text: str, score: Any) -> Any:
        seen.append(text)
        return score

    monkeypatch.setattr("sprint.evals.judge.Judge.reconsider", reconsider)
    judge = {"base_url": "http://judge/v1", "model": "wise"}
    config = config_of(tmp_path, judge=judge, train_answers=tmp_path / "train.parquet")
    summary = run(config, ScriptedEndpoint(lambda body: "\\boxed{-7}"))
    assert summary.guess == 1 / 6
    assert seen == ["\\boxed{-7}"] * 6


@pytest.mark.parametrize(
    "change",
    [
        {"choices": [{"message": {"content": [{"type": "text", "text": "5"}]}}]},
        {"choices": [{"message": {"content": "5", "reasoning_content": 5}}]},
        {"usage": {"prompt_tokens": 7, "completion_tokens": float("inf")}},
        {"usage": {"prompt_tokens": 7, "completion_tokens": -5}},
        {"usage": {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": "many"}}},
        {"sprint": {"usage": {"generated_tokens": None}}},
        {"sprint": {"usage": {"pipelined_tokens": float("nan")}}},
        {"sprint": {"timeline": [5]}},
        {"sprint": {"timeline": [{"kind": "execution"}]}},
    ],
)
def test_an_answer_of_another_kind_is_an_error_of_the_server_and_no_traceback(change: dict[str, Any]) -> None:
    with pytest.raises(LLMError, match="not a chat completion"):
        read_answer(completion("5") | change, 1.0)
    assert read_answer(completion("\ud800"), 1.0).text == "?"


def test_a_server_whose_models_are_no_list_of_objects_names_none(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": [1]}))
    with pytest.raises(ConfigError, match="names no model at /models"):
        asyncio.run(_Evaluation(config, HttpSolver(config, transport=transport, pause_s=0.0)).run())


def test_a_reply_nested_too_deep_is_a_failed_answer(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=1)
    models = httpx.Response(200, json={"data": [{"id": "tiny"}]})
    deep = httpx.Response(200, content=b"[" * 100_000)
    transport = httpx.MockTransport(lambda request: models if request.method == "GET" else deep)
    with pytest.raises(LLMError, match="not a JSON object"):
        asyncio.run(_Evaluation(config, HttpSolver(config, transport=transport, pause_s=0.0)).run())
