"""What an evaluation and a report are told to do. It knows no endpoint, task or file format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sprint.config import StrictModel


class EvalConfig(StrictModel):
    """`sprint evaluate`: ask a served model held-out problems and grade its answers."""

    out: Path = Field(description="JSON lines to write, one per problem")
    base_url: str = Field("http://127.0.0.1:8000/v1", pattern=r"^https?://", description="the endpoint, ending in /v1")
    model: str = Field("", description="model name; empty: the first that the endpoint names")
    label: str = Field("", description="what the report calls this run; empty: the model")
    task: str = Field("", description="a generated task, e.g. chains or countdown")
    task_options: dict[str, int] = Field(default_factory=dict, description="the task's own settings")
    data: Path | None = Field(None, description="or a JSONL file with id, question and answer")
    n: int = Field(300, ge=1, description="how many problems (a file: at most this many)")
    seed: int = Field(0, description="which held-out problems a generated task poses, and the sampling seed")
    concurrency: int = Field(8, ge=1, le=1024, description="requests in flight")
    alone: int = Field(0, ge=0, description="so many problems are asked first, one at a time, for an undisturbed clock")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0: greedy")
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(4096, ge=1, description="most tokens generated for one problem")
    mode: Literal["auto", "parallel", "sequential"] = Field("auto", description="auto: as the model was taught")
    dispatch: Literal["pipelined", "barrier"] = Field("pipelined", description="when executors start")
    timeout_s: float = Field(600.0, gt=0.0, description="seconds to wait for one answer")
    retries: int = Field(5, ge=0, description="tries again after a refusal for load or a lost connection")
    timelines: int = Field(8, ge=0, description="for how many problems to keep the request's timeline")
    resume: bool = Field(False, description="keep what the out file holds and ask only the rest")
    train_answers: Path | None = Field(None, description="curated Parquet: its commonest answer is the guess to beat")

    @model_validator(mode="after")
    def _one_source(self) -> EvalConfig:
        if bool(self.task) == bool(self.data):
            raise ValueError("expected either a task or a data file, and not both")
        return self


class ReportConfig(StrictModel):
    """`sprint report`: compare evaluation runs on one page."""

    runs: list[Path] = Field(min_length=1, description="JSON lines that `sprint evaluate` wrote")
    out: Path = Field(Path("report.html"), description="the page; report.json is written beside it")
    title: str = Field("SPRINT", description="the page's heading")
    note: str = Field("", description="a paragraph to show under the heading")
