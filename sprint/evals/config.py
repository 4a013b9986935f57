"""What an evaluation and a report are told to do. It knows no endpoint, task or file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sprint.config import Nodes, StrictModel
from sprint.requests import Prices

MethodName = Literal["auto", "sprint", "rft", "sequential", "base", "self-consistency", "sot-chat", "sot-reasoning"]


class PricesConfig(StrictModel):
    """Prices for a million tokens, in one currency."""

    prompt: float = Field(0.0, ge=0, description="sent to the engine")
    output: float = Field(0.0, ge=0, description="generated")
    cached: float | None = Field(None, ge=0, description="sent, and served from its cache; default: as prompt")

    @property
    def prices(self) -> Prices | None:
        """The prices; None where none was given."""
        return Prices(self.prompt, self.output, self.cached) if self.prompt or self.output else None


class BudgetConfig(StrictModel):
    """Limits of a run: beyond one of them no further answer is asked for. What was spent before a `resume` counts."""

    tokens: int | None = Field(None, ge=1, description="prompt and generated tokens of all calls")
    cost: float | None = Field(None, gt=0, description="at the prices given")
    seconds: float | None = Field(None, gt=0, description="on the clock, of this start of the run alone")


class BatchConfig(StrictModel):
    """Engines of its own for a run with `batch`: vLLM on Ray, offline."""

    model: str = Field("", description="model folder")
    replicas: int = Field(1, ge=1, description="engines at once")
    num_gpus: int = Field(0, ge=0, description="GPUs of one engine, all of them for tensor parallelism; 0: on CPUs")
    num_cpus: float = Field(1.0, gt=0, description="CPUs that one engine claims")
    context_tokens: int = Field(0, ge=0, description="0: what the model's config.json says")
    in_flight: int = Field(64, ge=1, description="answers that one engine works on at once")
    batch_size: int = Field(16, ge=1, description="answers handed to an engine, and kept, at a time")
    engine_kwargs: dict[str, Any] = Field(default_factory=dict, description="passed to vLLM as they are")


class JudgeConfig(StrictModel):
    """A model that has a second look at answers which the grader did not accept; without `base_url` there is none."""

    base_url: str = Field("", pattern=r"^(https?://.*)?$", description="an OpenAI-compatible endpoint, ending in /v1")
    model: str = Field("", description="the judging model's name")
    api_key_env: str = Field("OPENAI_API_KEY", description="the environment variable that holds its key")
    max_tokens: int = Field(1024, ge=1, description="most tokens of a verdict, thoughts included")
    timeout_s: float = Field(120.0, gt=0, description="seconds to wait for a verdict")
    retries: int = Field(3, ge=0, description="tries again after a refusal for load or a lost connection")


class EvalConfig(StrictModel):
    """`sprint evaluate`: ask a served model held-out problems and grade its answers.

    Each problem is answered `samples` times for each of `seeds`; all of that is one run in one file.
    """

    out: Path = Field(description="JSON lines to write, one per answer")
    base_url: str = Field("http://127.0.0.1:8000/v1", pattern=r"^https?://", description="the endpoint, ending in /v1")
    model: str = Field("", description="model name; empty: the first that the endpoint names")
    label: str = Field("", description="what the report calls this run; empty: the model")
    method: MethodName = Field("auto", description="how an answer is come by; auto: as the server does")
    instruction: Literal["auto", "none", "sprint", "sequential", "boxed"] = Field(
        "auto", description="what stands before the question; auto: what the server, or the model's folder, says"
    )
    votes: int = Field(20, ge=2, le=256, description="self-consistency: samples of one vote")
    points: int = Field(10, ge=3, le=32, description="Skeleton-of-Thought: most points of an outline")
    tokenizer: str = Field(
        "", description="sprint: model folder; with it the rounds are run here, over the endpoint's /completions"
    )
    plain: bool = Field(False, description="send nothing that OpenAI's API does not know")
    task: str = Field("", description="a generated task, e.g. chains or countdown")
    task_options: dict[str, int] = Field(default_factory=dict, description="the task's own settings")
    benchmark: str = Field("", description="or a benchmark, e.g. math500, aime2024, gpqa; its file is given by data")
    data: Path | None = Field(None, description="or a .jsonl, .csv or .parquet file with id, question and answer")
    columns: dict[str, str] = Field(
        default_factory=dict, description="how a data file calls id, question, answer, level or subject"
    )
    grader: Literal["box", "box-or-statement"] = Field(
        "box", description="which answer of a benchmark counts: a boxed one only, or also one stated in words"
    )
    judge: JudgeConfig = Field(
        default_factory=lambda: JudgeConfig.model_validate({}),
        description="a model that looks again at answers not accepted, e.g. base_url=http://…/v1",
    )
    n: int = Field(300, ge=1, description="how many problems (a file: at most this many)")
    seed: int = Field(0, description="which held-out problems a generated task poses, and the sampling seed")
    samples: int = Field(1, ge=1, le=1024, description="answers to each problem for each sampling seed")
    seeds: list[int] = Field(default_factory=list, description="sampling seeds; give once for each (default: seed)")
    concurrency: int = Field(8, ge=1, le=1024, description="answers in flight")
    alone: int = Field(0, ge=0, description="so many problems are asked first, one at a time, for an undisturbed clock")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0: greedy")
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(4096, ge=1, description="most tokens generated for one rollout, vote or point")
    mode: Literal["auto", "parallel", "sequential"] = Field(
        "auto", description="of method auto: in rounds or not; auto: as the model was taught"
    )
    dispatch: Literal["pipelined", "barrier"] = Field("pipelined", description="when executors start")
    timeout_s: float = Field(600.0, gt=0.0, description="seconds to wait for one answer")
    retries: int = Field(5, ge=0, description="tries again after a refusal for load or a lost connection")
    timelines: int = Field(8, ge=0, description="for how many problems to keep the request's timeline")
    reasoning: bool = Field(True, description="keep what was thought with each answer")
    budget: BudgetConfig = Field(
        default_factory=lambda: BudgetConfig.model_validate({}), description="stop, resumable, when so much is spent"
    )
    prices: PricesConfig = Field(
        default_factory=lambda: PricesConfig.model_validate({}), description="per million tokens, e.g. prompt=0.15"
    )
    batch: bool = Field(False, description="run the model here, on Ray and vLLM; no server is asked")
    engine: BatchConfig = Field(
        default_factory=lambda: BatchConfig.model_validate({}), description="of batch, e.g. model=FOLDER"
    )
    nodes: Nodes = Field(
        default_factory=dict, description="of batch: labels of the nodes of the engines, e.g. sprint/pool=gpu"
    )
    resume: bool = Field(False, description="keep what the out file holds and ask only the rest")
    train_answers: Path | None = Field(None, description="curated Parquet: its commonest answer is the guess to beat")

    @model_validator(mode="after")
    def _one_source(self) -> EvalConfig:
        if bool(self.task) == bool(self.data or self.benchmark):
            raise ValueError("expected either a task, or a benchmark or data file, and not both")
        if self.task and self.grader != "box":
            raise ValueError(f"grader is of use to benchmarks and data files, and task {self.task} has its own checker")
        if self.columns and (self.benchmark or not self.data):
            raise ValueError("columns is of use with a data file and no benchmark")
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> EvalConfig:
        if self.mode != "auto" and self.method != "auto":
            raise ValueError(f"mode is of use to method auto only, and method is {self.method!r}")
        if self.method == "self-consistency" and self.temperature == 0:
            raise ValueError("method self-consistency needs a temperature above 0: greedy votes are all the same")
        if self.tokenizer and (self.method != "sprint" or self.batch):
            raise ValueError("tokenizer is of use to method sprint over an endpoint only")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds names a seed twice, expected each once")
        if self.budget.cost and not self.prices.prices:
            raise ValueError("budget has a cost, which needs prices for prompt or output")
        if self.nodes and not self.batch:
            raise ValueError("nodes is of use to a batch only")
        if self.batch != bool(self.engine.model):
            raise ValueError("batch and engine.model belong together: --batch --engine model=FOLDER")
        return self

    @property
    def sampling_seeds(self) -> tuple[int, ...]:
        """The seeds that answers are sampled with."""
        return tuple(self.seeds) or (self.seed,)


class ReportConfig(StrictModel):
    """`sprint report`: compare evaluation runs on one page.

    Files with the same label, model and temperature but different seeds are samples of one run.
    """

    runs: list[Path] = Field(min_length=1, description="JSON lines that `sprint evaluate` wrote")
    out: Path = Field(Path("report.html"), description="the page; .md and .json of the same name are written beside it")
    title: str = Field("SPRINT", description="the page's heading")
    note: str = Field("", description="a paragraph to show under the heading")
    baseline: str = Field(
        "", description="label of the run to compare with (default: the sequential one, else the last)"
    )
    lengths: Path | None = Field(
        None, description="a further run, not compared, by whose generated tokens the length bins are chosen"
    )
    bin_edges: list[float] = Field(
        default_factory=list, description="edges of the length bins in tokens, e.g. 0 4000 6000 (default: quartiles)"
    )
    prices: PricesConfig = Field(
        default_factory=lambda: PricesConfig.model_validate({}),
        description="per million tokens, e.g. prompt=0.15, output=0.6",
    )
    failures: int = Field(8, ge=0, description="wrong answers to show for each run")
    headline: bool = Field(False, description="print the short table as Markdown, with the files behind it")

    @field_validator("bin_edges")
    @classmethod
    def _ascending(cls, edges: list[float]) -> list[float]:
        if edges and (len(edges) < 3 or sorted(set(edges)) != edges):
            raise ValueError("expected at least three edges, each above the one before")
        return edges
