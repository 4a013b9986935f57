"""The process that owns an engine, over a scripted model: the same lines whatever the method, and what is refused."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.evaluation import worker
from pipelines.evaluation.ending import failure_of, failure_text
from pipelines.evaluation.run import check, evaluate_batch
from pipelines.evaluation.worker import Evaluator, engine_args, job_of, job_text
from sprint.benchmarks import Sample
from sprint.card import Instruction, Method, ModelCard
from sprint.errors import ConfigError, LLMError, LLMUnavailable, SprintError
from sprint.evals.asking import Call
from sprint.evals.config import BatchConfig, EvalConfig
from sprint.evals.jobs import Job, Plan
from sprint.evals.results import Result
from sprint.evals.rounds import EngineAsker
from sprint.llm import LLM
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import ByteTokenizer
from tests.scripts import always_answering
from tests.unit.scripted_endpoint import config_of

BYTES = ByteTokenizer()
WINDOW = 20_000


def thinking(context: str) -> str:
    """A sequential model."""
    if "Do not answer yet" in context:
        return "1. add the numbers\n2. conclude</think>1. add the numbers\n2. conclude"
    return "4 it is</think>So \\boxed{4}."


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": WINDOW}))
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder)
    return folder


def results(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, llm: LLM | None = None, **options: Any
) -> list[Result]:
    """The results of a batch that one process works on, without Ray."""
    import pyarrow as pa

    said = always_answering if options.get("method") == "sprint" else thinking
    monkeypatch.setattr(worker, "started", lambda engine, tokens: llm or ScriptedLLM(BYTES, said))
    monkeypatch.setattr(worker, "load_tokenizer", lambda folder: BYTES)
    config = config_of(folder, batch=True, engine={"model": str(model)}, temperature=0.5, votes=3, **options)
    samples = [Sample(str(i), f"What is {i}+1?", str(i + 1)) for i in range(6)]
    jobs = list(Plan(samples, config.sampling_seeds, config.samples))

    async def run() -> Any:
        return await Evaluator(config.model_dump(), "tiny")(pa.table({"job": list(map(job_text, jobs))}))

    table = asyncio.run(run())
    assert table["turn"].to_pylist() == list(range(len(jobs)))
    for failure in filter(None, table["failure"].to_pylist()):
        raise failure_of(failure)
    return [Result.from_row(json.loads(line), "line") for line in table["line"].to_pylist()]


@pytest.mark.parametrize("method", ["sprint", "sequential", "self-consistency", "sot-chat", "sot-reasoning"])
def test_a_batch_gives_the_lines_of_every_method(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    found = results(tmp_path, model, monkeypatch, method=method)
    assert [result.is_correct for result in found] == [i == 3 for i in range(6)]
    for result in found:
        usage = result.usage
        assert usage is not None
        assert (result.method, result.model, result.sampling["batch"]) == (method, "tiny", True)
        assert 0 < usage.pipelined_tokens <= usage.generated_tokens
        assert usage.num_executions == {"sprint": 2, "self-consistency": 3}.get(method, 2 if "sot" in method else 0)


def test_timelines_are_kept_for_the_first_problems_only(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results(tmp_path, model, monkeypatch, method="sprint", timelines=2)
    assert [bool(result.timeline) for result in found] == [True] * 2 + [False] * 4


def test_a_question_that_does_not_fit_costs_that_question(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 8}))
    found = results(tmp_path, model, monkeypatch, method="sequential")
    assert {result.usage for result in found} == {None}
    assert "the context window holds 8" in found[0].error


def test_an_engine_that_stops_ends_the_batch(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(context: str) -> str:
        raise LLMUnavailable("the engine stopped working")

    with pytest.raises(LLMUnavailable, match="stopped working"):
        results(tmp_path, model, monkeypatch, ScriptedLLM(BYTES, gone), method="sequential")


def test_what_is_answered_beside_a_failure_is_not_lost(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def partly(context: str) -> str:
        if "What is 3+1?" in context:
            raise LLMUnavailable("the engine stopped working")
        return thinking(context)

    monkeypatch.setattr(worker, "started", lambda engine, tokens: ScriptedLLM(BYTES, partly))
    monkeypatch.setattr(worker, "load_tokenizer", lambda folder: BYTES)
    rows = asked(tmp_path, model, None)
    assert [bool(row["line"]) for row in rows] == [i != 3 for i in range(6)]
    assert [row["failure"] for row in rows if row["failure"]] == [
        failure_text(LLMUnavailable("the engine stopped working"))
    ]


def test_once_the_flag_is_raised_nothing_is_asked(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = ScriptedLLM(BYTES, thinking)
    monkeypatch.setattr(worker, "started", lambda engine, tokens: llm)
    monkeypatch.setattr(worker, "load_tokenizer", lambda folder: BYTES)
    assert len(asked(tmp_path, model, RemoteFlag(False))) == 6
    calls = len(llm.calls)
    assert asked(tmp_path, model, RemoteFlag(True)) == []
    assert len(llm.calls) == calls > 0


class RemoteFlag:
    """What a worker holds of a flag in another process."""

    def __init__(self, is_raised: bool) -> None:
        async def answer() -> bool:
            return is_raised

        self.is_raised = SimpleNamespace(remote=answer)


def asked(folder: Path, model: Path, flag: Any) -> list[dict[str, Any]]:
    """The rows that come of six sums."""
    import pyarrow as pa

    config = config_of(folder, batch=True, engine={"model": str(model)}, method="sequential")
    samples = [Sample(str(i), f"What is {i}+1?", str(i + 1)) for i in range(6)]

    async def run() -> Any:
        jobs = pa.table({"job": [job_text(job) for job in Plan(samples, (0,), 1)]})
        return await Evaluator(config.model_dump(), "tiny", flag)(jobs)

    rows: list[dict[str, Any]] = asyncio.run(run()).to_pylist()
    return rows


@pytest.mark.parametrize("error", [LLMUnavailable("away"), LLMError("no chat"), ConfigError("wrong", field="engine")])
def test_a_failure_survives_the_way_whatever_caused_it(error: SprintError) -> None:
    error.__cause__ = ValueError("which no pickle holds")
    arrived = failure_of(failure_text(error))
    assert (type(arrived), str(arrived), arrived.__cause__) == (type(error), str(error), None)


def test_a_failure_of_the_engine_is_the_error_that_it_was(tmp_path: Path) -> None:
    def failing(context: str) -> str:
        raise LLMError("the engine broke")

    card = ModelCard(Method.RFT, Instruction.NONE)
    asker = EngineAsker(ScriptedLLM(BYTES, failing), BYTES, card, WINDOW, config_of(tmp_path))
    with pytest.raises(LLMError, match="the engine broke"):
        asyncio.run(asker.ask(Call("q", 0)))


def test_a_job_survives_the_way() -> None:
    job = Job(3, 4, Sample("a", "q\u2028", "1", "5", "algebra", ("x", "y")), 2, 77)
    assert job_of(job_text(job)) == job


def test_an_engine_spans_its_gpus_and_the_users_own_arguments_stand_last(model: Path) -> None:
    engine = BatchConfig.model_validate({"model": str(model), "num_gpus": 4, "engine_kwargs": {"max_num_seqs": 7}})
    args = engine_args(engine, WINDOW)
    told = {"tensor_parallel_size": 4, "max_num_seqs": 7, "max_model_len": WINDOW}
    assert told.items() <= args.items()
    assert "kv_cache_memory_bytes" not in args
    alone = engine_args(BatchConfig.model_validate({"model": str(model)}), WINDOW)
    assert "tensor_parallel_size" not in alone
    assert alone["enforce_eager"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": {"model": "nowhere"}}, "nowhere is not a model folder"),
        ({"alone": 3}, "alone is of no use to a batch"),
    ],
)
def test_what_cannot_run_is_refused_before_ray_is_started(
    tmp_path: Path, model: Path, options: dict[str, Any], message: str
) -> None:
    config: EvalConfig = config_of(tmp_path, batch=True, **{"engine": {"model": str(model)}} | options)
    with pytest.raises(ConfigError, match=message):
        check(config)
    with pytest.raises(ConfigError, match=message):
        evaluate_batch(config)
    assert not config.out.exists()
