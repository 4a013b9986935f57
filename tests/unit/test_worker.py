"""Laws of a worker: one odd row or reply costs itself alone, and a row is given its own replies, paid for once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipelines import batch
from pipelines.endpoint.client import EndpointRefused
from pipelines.inputs import sources
from pipelines.record import replies as reply_store
from pipelines.record.store import Store
from pipelines.scan import scan_shards
from pipelines.worker import EndpointWorker, Job, Settings, Worker, curate_by_replies
from sprint.curate import CurationOptions, Prepared
from sprint.requests import AnnotationUsage, Prices, Reply, Request, RequestFailed
from sprint.rows import MalformedRow, digest, expand, read_trace
from sprint.types import DropReason
from tests.unit.curated import ROWS

COST = AnnotationUsage(1, 0, 0, 100, None, 10, 0.5)
OPTIONS = CurationOptions(min_ratio=0)
ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}


def _rows(count: int) -> list[dict[str, Any]]:
    rows = [recorded.row for recorded in ROWS[:count]]
    names = ("id", "question", "reasoning", "answer")
    return [{name: getattr(row, name) for name in names} | {"response": f"\\boxed{{{row.answer}}}"} for row in rows]


def _jobs(folder: Path, rows: Sequence[dict[str, Any]], replies: tuple[str, ...] = ()) -> list[Job]:
    path = folder / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return [Job(shard, replies=replies) for shard in sources.shards(sources.find([str(path)]), 100)]


def _table(jobs: Sequence[Job]) -> Any:
    import pyarrow as pa

    return pa.table({"job": [job.dumps() for job in jobs]})


class Client:
    """Answers as told, in the place of an endpoint's client."""

    def __init__(self, answer: Callable[[Request], str]) -> None:
        self.answer = answer

    async def ask(self, request: Request) -> Reply:
        return Reply(self.answer(request), usage=COST)


def _asked(jobs: Sequence[Job], answer: Callable[[Request], str]) -> list[dict[str, Any]]:
    async def work() -> Any:
        worker = EndpointWorker(Settings(OPTIONS, prices=Prices(1.0, 1.0)), ENDPOINT, 1, "")
        worker._client = Client(answer)
        return await worker(_table(jobs))

    rows: list[dict[str, Any]] = asyncio.run(work()).to_pylist()
    return rows


# --- one row alone ---------------------------------------------------------------------------------------------------


def test_an_error_nobody_expected_drops_the_row_that_met_it(tmp_path: Path) -> None:
    rows = _rows(3)

    def answer(request: Request) -> str:
        if rows[1]["question"] in request.messages[1].content:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return "P1-9999"

    made = _asked(_jobs(tmp_path, rows), answer)
    assert [row["id"] for row in made] == [row["id"] for row in rows]
    assert [row["reason"] for row in made] == [
        DropReason.BAD_RANGES,
        DropReason.ANNOTATION_FAILED,
        DropReason.BAD_RANGES,
    ]
    assert made[1]["detail"].startswith("UnicodeEncodeError: ")


def test_an_annotation_that_breaks_its_judge_drops_its_row_and_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("no rounds")

    monkeypatch.setattr("sprint.curate.judge", broken)
    (row,) = _asked(_jobs(tmp_path, _rows(1)), lambda request: "P1 E2")
    assert (row["reason"], row["detail"]) == (DropReason.ANNOTATION_FAILED, "ZeroDivisionError: no rounds")
    assert (row["num_calls"], row["cost"]) == (1, pytest.approx(110e-6))


def test_an_endpoint_that_refuses_still_stops_the_run(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        raise EndpointRefused("the key is wrong")

    with pytest.raises(EndpointRefused):
        _asked(_jobs(tmp_path, _rows(1)), answer)


@pytest.mark.parametrize("odd", [{"generated_text": None}, {"num_generated_tokens": None}, {"num_input_tokens": "x"}])
def test_what_an_engine_gave_and_nobody_can_read_costs_its_request(odd: dict[str, Any]) -> None:
    import pyarrow as pa

    good = {"digest": "d", "key": "k", "purpose": "steps", "max_tokens": 9, "generated_text": "P1"}
    good |= {"num_generated_tokens": 3, "num_input_tokens": 7, "time_taken_llm": 0.1}
    tables = [batch.kept(pa.Table.from_pylist([values])).to_pylist()[0] for values in (good, good | odd)]
    assert [bool(row["error"]) for row in tables] == [False, True]
    assert (tables[1]["key"], tables[1]["num_failures"], tables[1]["text"]) == ("k", 1, "")


def test_a_key_that_no_file_can_hold_is_a_row_with_an_error(tmp_path: Path) -> None:
    import pyarrow as pa

    jobs = _jobs(tmp_path, [{"\ud800": 1}, *_rows(1)])
    scanned = scan_shards(pa.Table.from_pylist([asdict(job.shard) for job in jobs]), {}).to_pylist()
    assert "no question column; found: ?" in scanned[0]["error"]
    assert scanned[1]["error"] == ""
    for row, read in (({"\ud800": 1}, read_trace), ({"generations": []}, expand)):
        with pytest.raises(MalformedRow) as caught:
            read(row)
        assert str(caught.value).encode()
    assert str(MalformedRow("\ud800")) == "?"


# --- replies ---------------------------------------------------------------------------------------------------------


def _requests(jobs: Sequence[Job]) -> list[tuple[str, Request]]:
    """The digest and the first request of each row."""
    worker = Worker(Settings(OPTIONS))
    rows = [row for job in jobs for _, row in worker.prepared(job)]
    assert all(isinstance(row, Prepared) for row in rows)
    return [(digest(row.trace), next(worker.conversation(row))) for row in rows if isinstance(row, Prepared)]


def _keep(folder: Path, replies: Sequence[tuple[str, Request, Reply | RequestFailed]]) -> tuple[str, ...]:
    import pyarrow as pa

    rows = [reply_store.reply_values(name, asked.key, "steps", reply) for name, asked, reply in replies]
    name = f"{reply_store.FOLDER}/part-000000.parquet"
    Store(str(folder)).write_table(name, pa.Table.from_pylist(rows, schema=reply_store.reply_schema()))
    return (name,)


def test_a_row_is_given_the_replies_to_its_own_trace_whatever_stands_beside_it(tmp_path: Path) -> None:
    first = _rows(1)[0]
    rows = [first, first | {"id": "b", "reasoning": f"{first['reasoning']}\n\n\\boxed{{{first['answer']}}}"}]
    (one, asked), (other, same) = _requests(_jobs(tmp_path, rows))
    assert asked.key == same.key
    assert one != other
    names = _keep(tmp_path / "run", [(one, asked, RequestFailed("the engine choked"))])
    settings = Settings(OPTIONS, replies_from=str(tmp_path / "run"))
    known = [known for job in _jobs(tmp_path, rows, names) for _, _, known in Worker(settings).with_replies(job)]
    assert [list(found) for found in known] == [[asked.key], []]


@pytest.mark.parametrize("replays", [False, True])
def test_the_replies_of_another_run_cost_nothing(tmp_path: Path, replays: bool) -> None:
    rows = _rows(2)
    (one, asked), (two, also) = _requests(_jobs(tmp_path, rows))
    failed = RequestFailed("choked", AnnotationUsage(num_failures=1))
    names = _keep(tmp_path / "run", [(one, asked, Reply("P1 E2", False, COST)), (two, also, failed)])
    settings = Settings(OPTIONS, prices=Prices(1.0, 1.0), replies_from=str(tmp_path / "run"), replays=replays)
    made = curate_by_replies(_table(_jobs(tmp_path, rows, names)), settings).to_pylist()
    assert [row["num_steps"] for row in made] == [1, 0]
    assert made[1]["detail"] == "choked"
    paid = [(row["num_calls"], row["num_failures"], row["prompt_tokens"], row["cost"] > 0) for row in made]
    assert paid == ([(0, 0, 0, False)] * 2 if replays else [(1, 0, 100, True), (0, 1, 0, False)])
