"""How a batch ends before its time, seen from the driver: workers are played by a list of rows, without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.evaluation import run
from pipelines.evaluation.ending import failure_text
from sprint.errors import LLMError
from sprint.evals.book import Book
from sprint.evals.config import EvalConfig
from sprint.evals.jobs import Job
from sprint.evals.results import read_results
from sprint.usage import Usage
from tests.unit.scripted_endpoint import config_of

TOKENS = 10


class Workers:
    """Hands out the rows of jobs until the flag is raised, then those of `in_flight` more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: int | None = None, twice: bool = False) -> None:
        self.raised = 0
        self._fails, self._twice, self._in_flight = fails, twice, 2
        remote = SimpleNamespace(remote=self._raise)
        monkeypatch.setattr(run, "open_flag", lambda: SimpleNamespace(set=remote))
        monkeypatch.setattr(run, "_answered", self._answered)

    def _raise(self) -> None:
        self.raised += 1

    def _answered(self, jobs: list[Job], config: EvalConfig, model: str, flag: Any) -> Iterator[dict[str, Any]]:
        marker = Book(config.model_copy(update={"resume": True})).marker
        for number, job in enumerate(jobs):
            if self.raised and self._in_flight == 0:
                return
            self._in_flight -= bool(self.raised)
            line = json.dumps(marker.blank(job).as_row() | {"usage": Usage.sequential(TOKENS).as_dict()})
            row = {"turn": job.turn, "line": line, "failure": ""}
            if number == self._fails:
                row |= {"line": "", "failure": failure_text(LLMError("the judge is ill"))}
            yield from [row] * (1 + self._twice)


def worked(config: EvalConfig) -> None:
    book = Book(config)
    book.open("tiny")
    with book:
        run._work(config, book)


def test_what_is_in_flight_when_a_budget_is_used_up_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch)
    config = config_of(tmp_path, count=12, budget={"tokens": 3 * TOKENS})
    worked(config)
    assert len(read_results(config.out)) == 3 + 2
    assert workers.raised == 1


def test_what_is_in_flight_when_a_judge_fails_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, fails=4)
    config = config_of(tmp_path, count=12)
    with pytest.raises(LLMError, match="the judge is ill"):
        worked(config)
    assert len(read_results(config.out)) == 4 + 2
    assert workers.raised == 1


def test_an_answer_that_ray_had_made_twice_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, twice=True)
    config = config_of(tmp_path, count=5)
    worked(config)
    assert [result.id for result in read_results(config.out)] == [str(i) for i in range(5)]
    assert workers.raised == 0
