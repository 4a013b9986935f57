"""Evaluation: statistics against known values, the solver against a stub server, runs that stop and go on, the page."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from sprint.config import load_config, validate
from sprint.errors import ConfigError, InputError, LLMError, LLMUnavailable
from sprint.evals.bins import choose_bins
from sprint.evals.config import EvalConfig, ReportConfig
from sprint.evals.report import make_report, report
from sprint.evals.results import Result, read_results
from sprint.evals.run import _Evaluation, drop_broken_end
from sprint.evals.scorers import commonest_answer, samples, scorer
from sprint.evals.solvers import HttpSolver
from sprint.evals.stats import Interval, mcnemar, mean, quantile, ratio_of_means, wilson
from sprint.evals.summary import compare, summarise
from sprint.evals.table import lines, number
from sprint.files import write_jsonl
from sprint.tasks import Grade
from sprint.usage import Usage

Handler = Callable[[httpx.Request], httpx.Response]

# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(correct: int, total: int, low: float, high: float) -> None:
    interval = wilson(correct, total)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_is_symmetric_and_holds_the_share() -> None:
    for correct in range(31):
        here, there = wilson(correct, 30), wilson(30 - correct, 30)
        assert here.low == pytest.approx(1 - there.high)
        assert correct / 30 in here


def test_mcnemar_is_the_exact_sign_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(22 / 1024)


def test_the_bootstrap_of_a_constant_ratio_is_that_ratio() -> None:
    interval = ratio_of_means([2.0, 4.0, 6.0], [4.0, 8.0, 12.0])
    assert interval == Interval(0.5, 0.5)


def test_the_bootstrap_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    dice, hits = random.Random(3), 0
    for trial in range(100):
        below = [dice.gauss(100, 10) for _ in range(40)]
        above = [value * 0.6 + dice.gauss(0, 10) for value in below]
        interval = ratio_of_means(above, below, draws=200, seed=trial)
        assert interval is not None
        hits += 0.6 in interval
    assert 85 <= hits <= 100


def test_a_ratio_to_nothing_is_not_a_number() -> None:
    assert ratio_of_means([1.0], [0.0]) is None
    assert ratio_of_means([], []) is None


def test_quantiles_interpolate() -> None:
    assert [quantile([0.0, 10.0], share) for share in (0, 0.25, 1)] == [0.0, 2.5, 10.0]


def test_a_mean_with_an_unknown_is_unknown() -> None:
    assert mean([1.0, 3.0]) == 2.0
    assert mean([1.0, None]) is None
    assert mean([]) is None


# --- solving and scoring ---------------------------------------------------------------------------------------------


def completion(text: str, usage: Usage | None = None) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "choices": [{"message": {"content": text, "reasoning_content": "thought"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": None},
    }
    if usage:
        told = {"usage": usage.as_dict(), "stop_reason": "answered", "method": "sprint", "timeline": [{"kind": "plan"}]}
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
    assert summary.wall_alone_s is not None


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


def test_a_half_written_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    drop_broken_end(path)
    assert path.read_text() == '{"a": 1}\n'


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
        ({}, "either a task or a data file"),
        ({"task": "chains", "data": "x"}, "either a task or a data file"),
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
    grade = scorer(config)
    assert grade(first[0], f"so \\boxed{{{first[0].answer}}}") is Grade.CORRECT
    assert grade(first[0], "no idea") is Grade.NO_ANSWER


def test_the_guess_is_the_commonest_training_answer(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"answer": ["3", "7", "7"]}), tmp_path / "part.parquet")
    assert commonest_answer(tmp_path) == "\\boxed{7}"
    with pytest.raises(InputError, match="does not exist"):
        commonest_answer(tmp_path / "absent")


# --- the report ------------------------------------------------------------------------------------------------------


def results(label: str, count: int = 20, **changes: Any) -> list[Result]:
    dice = random.Random(label)
    made = []
    for i in range(count):
        tokens = dice.randint(50, 60) if label == "sprint" else dice.randint(100, 120)
        usage = Usage(
            pipelined_tokens=tokens, barrier_tokens=tokens, paper_sequential_tokens=tokens, generated_tokens=tokens
        )
        span = {"kind": "plan" if label == "sprint" else "sequential", "round": 1, "number": 0, "start_s": 0.0}
        span |= {"end_s": 1.0, "generated_tokens": tokens, "outcome": "closed"}
        values = {
            "id": str(i), "question": "q" * (10 if i % 2 else 40), "gold": "1", "task": "chains", "label": label,
            "model": label, "method": label, "grade": Grade.CORRECT, "usage": usage,
            "wall_s": tokens / 100, "stop_reason": "answered",
            "timeline": (span,), "reasoning": "<think>\na < b\n</think>",
        }  # fmt: skip
        made.append(Result(**values | changes))
    return made


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "sprint.jsonl", tmp_path / "rft.jsonl"]
    for path in paths:
        write_jsonl(path, [result.as_row() for result in results(path.stem)])
    return paths


def test_a_result_survives_the_file(tmp_path: Path) -> None:
    made = results("sprint")
    write_jsonl(tmp_path / "r.jsonl", [result.as_row() for result in made])
    assert read_results(tmp_path / "r.jsonl") == made


def test_the_page_stands_alone_and_holds_every_part(runs: list[Path], tmp_path: Path) -> None:
    report(ReportConfig(runs=runs, out=tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 3
    for part in ("By length", "One problem on the clock", "the ratio follows from how"):
        assert part in page
    assert "a &lt; b" in page
    for outside in ("<script", "src=", "@import", "<link"):
        assert outside not in page
    saved = json.loads((tmp_path / "page.json").read_text())
    assert saved["comparisons"][0]["ratios"]["pipelined_tokens"][0] == pytest.approx(0.5, abs=0.05)


def test_the_same_runs_give_the_same_page(runs: list[Path], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        report(ReportConfig(runs=runs, out=tmp_path / name))
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


def test_the_sequential_run_is_the_baseline_whatever_the_order(runs: list[Path]) -> None:
    for order in (runs, runs[::-1]):
        comparison = make_report(ReportConfig(runs=order)).comparisons[0]
        assert (comparison.label, comparison.baseline) == ("sprint", "rft")


def test_one_run_alone_has_a_page_without_comparison(runs: list[Path], tmp_path: Path) -> None:
    result = report(ReportConfig(runs=runs[:1], out=tmp_path / "page.html"))
    assert result.comparisons == []


def test_what_is_not_reported_is_a_dash_and_never_zero() -> None:
    usage = Usage(pipelined_tokens=5, generated_tokens=5, cached_prompt_tokens=None, prompt_tokens=10)
    table = {line.name: line.cells for line in lines([summarise(results("rft", usage=usage))], [])}
    assert table["prompt, cached"] == table["prefix hit rate"] == ("–",)
    assert number(0.0) == "0"


def test_only_problems_that_both_answered_are_paired() -> None:
    mine = results("sprint")
    mine[0] = results("sprint", 1, usage=None, grade=None)[0]
    comparison = compare(mine, results("rft", 15))
    assert comparison.num_pairs == 14
    assert comparison.only_baseline_correct == 1


def test_bins_are_chosen_by_what_depends_on_neither_run() -> None:
    bins = choose_bins(results("rft"))
    assert bins is not None
    assert "question" in bins.name


def test_bins_by_the_baselines_length_say_what_that_does() -> None:
    bins = choose_bins(results("rft", question="q"))
    assert bins is not None
    assert "favours" in bins.caveat
    assert {bins.index(str(i)) for i in range(20)} == set(range(len(bins.titles)))


def test_equally_long_problems_have_no_bins() -> None:
    assert choose_bins(results("rft", question="q", usage=Usage(generated_tokens=5))) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "holds no results"),
        ('{"id": "1"}\n', "row 1 is not an evaluation result"),
        ("{broken\n", "line 1 is broken JSON"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "run.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        make_report(ReportConfig(runs=[path]))


def test_runs_that_cannot_be_compared_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write_jsonl(other, [result.as_row() for result in results("other", task="countdown")])
    with pytest.raises(InputError, match="expected one task"):
        make_report(ReportConfig(runs=[runs[0], other]))
    with pytest.raises(InputError, match="both labelled"):
        make_report(ReportConfig(runs=[runs[0], runs[0]]))
    with pytest.raises(InputError, match="share no problem"):
        compare(results("sprint"), results("rft", id="elsewhere"))
    with pytest.raises(ConfigError, match=r"ending in \.html"):
        report(ReportConfig(runs=runs, out=tmp_path / "page.pdf"))


def test_the_two_clocks_are_kept_apart() -> None:
    alone, busy = results("sprint", 4, wall_s=1.0, concurrency=1), results("sprint", 6, wall_s=5.0, concurrency=8)
    busy = [replace(result, id=f"busy {result.id}") for result in busy]
    summary = summarise([*alone, *busy])
    assert (summary.wall_alone_s, summary.wall_s, summary.concurrency) == (1.0, 5.0, 8)
    slower = [replace(result, label="rft", wall_s=2 * result.wall_s) for result in (*alone, *busy)]
    ratios = compare([*alone, *busy], slower).ratios
    assert ratios["wall_alone_s"] is not None
    assert ratios["wall_alone_s"][0] == 0.5
    assert summarise(busy).wall_alone_s is None
    assert compare(busy, slower).ratios["wall_alone_s"] is None
