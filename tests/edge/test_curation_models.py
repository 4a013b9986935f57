"""Curation with a model that annotates: an endpoint that misbehaves, a real engine on CPU, and recorded replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipelines import batch
from pipelines.config import CurateConfig
from pipelines.endpoint.client import HELLO
from pipelines.run import Stopped, curate
from sprint.config import validate
from sprint.curate import CurationOptions
from sprint.dialogue import DialogueOptions
from sprint.errors import ConfigError, InputError
from sprint.tasks import Split, get_task
from sprint.types import DropReason
from tests.edge.annotating_model import model
from tests.edge.misbehaving import MODEL, Fault, Faults, MisbehavingServer, closed_url
from tests.edge.tiny_model import save_tiny_model

TOLD = DialogueOptions(structured=True, min_coverage=0.9)
NUM_ROWS = 40
FAULTS = Faults(
    rates={
        Fault.RATE_LIMIT: 0.08,
        Fault.SERVER_ERROR: 0.08,
        Fault.TRUNCATED_JSON: 0.05,
        Fault.EMPTY_BODY: 0.05,
        Fault.DISCONNECT: 0.05,
        Fault.STALL: 0.03,
        Fault.INVENTED: 0.05,
    },
    stall_s=30,
)


@pytest.fixture(scope="module", autouse=True)
def ray_for_all() -> Iterator[None]:
    """One Ray for the whole file, with the logical CPUs that an offline batch holds."""
    import ray

    ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def _rows() -> list[dict[str, Any]]:
    task = get_task("chains", num_chains=6)
    names = ("id", "question", "reasoning", "answer", "response")
    traces = [task.teach(problem) for problem in islice(task.problems(Split.TRAIN), NUM_ROWS)]
    return [{name: getattr(trace, name) for name in names} for trace in traces]


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, _rows())), encoding="utf-8")
    return tmp_path / "in.jsonl"


def _config(traces: Path, out: Path, **options: Any) -> CurateConfig:
    return validate(CurateConfig, {"inputs": (str(traces),), "out": str(out), **options}, "test")


def _asking(traces: Path, out: Path, url: str, concurrency: int = 32, **options: Any) -> CurateConfig:
    endpoint = {"base_url": url, "model": MODEL, "backoff_s": 0.05, "timeout_s": 3.0, "concurrency": concurrency}
    prices = {"prompt": 1.0, "output": 4.0, "cached": 0.5}
    return _config(traces, out, annotator="openai", endpoint=endpoint, prices=prices, **options)


def _table(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def _spoilt(text: str) -> str:
    return json.dumps({"steps": ["P1 E900-990"]}) if "steps" in text else json.dumps({"parents": [[], [7]]})


def test_whatever_the_endpoint_does_no_row_is_lost_and_every_failure_counted(traces: Path, tmp_path: Path) -> None:
    reply = model(_rows(), CurationOptions(), TOLD)
    with MisbehavingServer(reply=reply, faults=FAULTS, distort=_spoilt, cached_tokens=10) as server:
        summary = curate(_asking(traces, tmp_path / "out", server.url))
    rows = _table(tmp_path / "out" / "rows")
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in _rows())
    failed = [asked for asked in server.log if asked.fault and asked.fault.kind and asked.key != HELLO.key]
    assert len(failed) == sum(row["num_failures"] for row in rows) > 0
    spoilt = {row["id"] for row in rows if row["reason"]}
    assert 0 < len(spoilt) <= server.faults[Fault.INVENTED]  # the server knows no repairs, so these stay wrong
    assert set(summary.dropped) <= {DropReason.BAD_RANGES, DropReason.BAD_PARENTS, DropReason.UNPARSED_STEPS}
    answered = [row for row in rows if not row["reason"]]
    assert all(row["num_calls"] == 2 and row["cached_tokens"] == 20 for row in answered)
    fresh = sum(row["prompt_tokens"] - row["cached_tokens"] for row in rows)
    paid = fresh * 1.0 + sum(row["cached_tokens"] * 0.5 + row["output_tokens"] * 4.0 for row in rows)
    assert sum(row["cost"] for row in rows) == pytest.approx(paid / 1e6)


def test_a_good_model_gives_what_the_rules_give_and_its_replies_can_be_replayed(traces: Path, tmp_path: Path) -> None:
    with MisbehavingServer(reply=model(_rows(), CurationOptions(), TOLD)) as server:
        curate(_asking(traces, tmp_path / "asked", server.url))
    curate(_config(traces, tmp_path / "ruled"))
    again = _config(traces, tmp_path / "again", annotator="recorded", recorded=str(tmp_path / "asked"))
    curate(again)
    sets = [_table(tmp_path / name / "sprint") for name in ("asked", "ruled", "again")]
    assert sets[0] == sets[1] == sets[2]
    assert len(sets[0]) == NUM_ROWS
    assert all(row["num_calls"] == 0 for row in _table(tmp_path / "again" / "rows"))


def test_failed_rows_are_asked_again_when_wanted(traces: Path, tmp_path: Path) -> None:
    reply = model(_rows(), CurationOptions(), TOLD)
    down = Faults(script=(None,), rates={Fault.SERVER_ERROR: 0.5}, most=99)
    with MisbehavingServer(reply=reply, faults=down) as server:
        config = _asking(traces, tmp_path / "out", server.url)
        config = config.model_copy(update={"endpoint": config.endpoint.model_copy(update={"max_attempts": 1})})
        first = curate(config)
    assert first.dropped[DropReason.REQUEST_FAILED] > 0
    with MisbehavingServer(reply=reply) as server:
        second = curate(_asking(traces, tmp_path / "out", server.url, resume=True, retry_failed=True))
    assert second.dropped == {}
    assert [row["id"] for row in _table(tmp_path / "out" / "sprint")] == [row["id"] for row in _rows()]


def test_a_cost_limit_stops_a_run_that_can_be_gone_on_with(traces: Path, tmp_path: Path) -> None:
    with MisbehavingServer(reply=model(_rows(), CurationOptions(), TOLD), latency_s=0.2) as server:
        with pytest.raises(Stopped, match="higher --max-cost"):
            curate(_asking(traces, tmp_path / "out", server.url, max_cost=1e-4, concurrency=2, rows_per_task=2))
        assert len(server.log) < NUM_ROWS
        summary = curate(_asking(traces, tmp_path / "out", server.url, resume=True, rows_per_task=2))
    assert summary.num_kept == NUM_ROWS


def test_an_endpoint_that_goes_down_stops_the_run(traces: Path, tmp_path: Path) -> None:
    down = Faults(script=(None,), rates={Fault.SERVER_ERROR: 1.0}, most=99)
    with MisbehavingServer(faults=down) as server:
        config = _asking(traces, tmp_path / "out", server.url, concurrency=2, rows_per_task=2, max_failed_in_a_row=5)
        config = config.model_copy(update={"endpoint": config.endpoint.model_copy(update={"max_attempts": 1})})
        with pytest.raises(Stopped, match="5 rows in a row have failed, the last since"):
            curate(config)
    assert 5 <= len(_table(tmp_path / "out" / "rows")) < NUM_ROWS


def test_an_endpoint_that_cannot_work_is_refused_before_anything_is_written(traces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1"):
        curate(_asking(traces, tmp_path / "out", closed_url()))
    with (
        MisbehavingServer(api_key="secret") as server,
        pytest.raises(InputError, match="401"),
    ):
        curate(_asking(traces, tmp_path / "out", server.url))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotator": "openai"}, "needs 'endpoint'"),
        ({"annotator": "vllm"}, "needs 'engine'"),
        ({"annotator": "recorded"}, "needs 'recorded'"),
        ({"recorded": "run"}, "'recorded' is of no use to annotator rules"),
        ({"annotator": "openai", "endpoint": {"modle": "x"}}, "unknown key 'endpoint.modle'"),
        ({"fields": ("tokens",)}, "needs 'tokenizer'"),
        ({"push": "nowhere"}, "expected owner/name"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(CurateConfig, {"inputs": ("a",), **options}, "test")


def test_the_batch_annotator_really_runs(traces: Path, tmp_path: Path) -> None:
    """A tiny untrained model: its words are noise, so no row is kept; the path, the errors and the ledger are real."""
    folder = tmp_path / "model"
    save_tiny_model(folder)
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    engine = {"model": str(folder), "cpu": True, "engine_kwargs": {"max_model_len": 9000, "max_num_seqs": 8}}
    long = _rows()[0] | {"id": "long"}
    long["reasoning"] = "Let me add. It is more than the model can read. " * 400 + long["reasoning"]
    traces.write_text("\n".join(map(json.dumps, [*_rows()[:5], long])), encoding="utf-8")
    config = _config(traces, tmp_path / "out", annotator="vllm", engine=engine, repair=False)
    summary = curate(config)
    rows = _table(tmp_path / "out" / "rows")
    assert summary.num_rows == len(rows) == 6
    reasons = {row["id"]: row["reason"] for row in rows}
    assert reasons.pop("long") == DropReason.REQUEST_FAILED
    assert set(reasons.values()) == {DropReason.UNPARSED_STEPS}
    kept = _table(tmp_path / "out" / "replies")
    assert sum(row["output_tokens"] for row in kept) == sum(row["output_tokens"] for row in rows)
    assert all((row["num_calls"] == 1) == (not row["error"]) for row in kept)


def test_the_batch_goes_over_the_rows_until_nothing_is_left_to_ask(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scripted model in the engine's place: steps, parents and repairs are passes of their own."""
    told = DialogueOptions(structured=True, min_coverage=0.9)
    answer = model(_rows(), CurationOptions(), told)

    def processor(engine: Any) -> Any:
        def answered(row: dict[str, Any]) -> dict[str, Any]:
            text = answer([dict(message) for message in row["messages"]])
            counts = {"num_input_tokens": 7, "num_generated_tokens": 3, "time_taken_llm": 0.1}
            return {**row, "generated_text": text, **counts}

        return lambda dataset: dataset.map(answered)

    monkeypatch.setattr(batch, "_processor", processor)
    config = _config(traces, tmp_path / "out", annotator="vllm", engine={"model": "scripted", "cpu": True})
    summary = curate(config)
    assert summary.num_kept == NUM_ROWS
    assert summary.spending.usage.num_calls == 2 * NUM_ROWS
    assert sorted(Counter(row["purpose"] for row in _table(tmp_path / "out" / "replies")).items()) == [
        ("parents", NUM_ROWS),
        ("steps", NUM_ROWS),
    ]
    curate(_config(traces, tmp_path / "ruled"))
    assert _table(tmp_path / "out" / "sprint") == _table(tmp_path / "ruled" / "sprint")
