"""`sprint demo`: the whole recipe, each step a command that a user could type.

It knows the order of the steps and what each is given, per task and size. It does not know how a step is run
(`sprint.steps`) nor what any of them does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from sprint.config import StrictModel
from sprint.errors import ConfigError
from sprint.steps import Runner, Step, free_port

METHODS = ("rft", "sprint")


class DemoConfig(StrictModel):
    """What to demonstrate, and where."""

    task: Literal["chains", "countdown"] = Field("chains", description="what the models learn")
    quick: bool = Field(False, description="five minutes: proves the chain, teaches nothing")
    out: Path | None = Field(None, description="folder to write (default: runs/demo, or runs/demo-TASK, -quick)")
    resume: bool = Field(False, description="go on where an earlier demo in the folder stopped")
    seed: int = Field(0, description="of the traces, the weights and the order of training")

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        name = "demo" + ("" if self.task == "chains" else f"-{self.task}") + ("-quick" if self.quick else "")
        return self.out or Path("runs") / name


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `options` are the task's own settings, `training` further options of `sprint train`."""

    num_traces: int
    num_problems: int
    max_tokens: int
    options: tuple[str, ...]
    training: tuple[str, ...]


_CHAINS = ("num_chains=6", "num_operands=5")
_COUNTDOWN = ("num_numbers=3",)
_FEW_STEPS = ("--max-steps=20",)
SIZES = {
    ("chains", False): Size(4000, 300, 2000, _CHAINS, ()),
    ("chains", True): Size(300, 40, 400, _CHAINS, _FEW_STEPS),
    ("countdown", False): Size(1400, 150, 1500, _COUNTDOWN, ()),  # there are no more such problems
    ("countdown", True): Size(300, 40, 400, _COUNTDOWN, _FEW_STEPS),
}


def demo(config: DemoConfig) -> Path:
    """Run every step that is not done; the report's path.

    Raises ConfigError when the folder is in use, StepFailed with the step's last lines when one fails. Whatever it
    started is stopped when it ends, however it ends.
    """
    folder = config.folder
    if folder.exists() and any(folder.iterdir()) and not config.resume:
        raise ConfigError(f"{folder} is not empty: go on with --resume, or choose another --out", field="out")
    began = time.monotonic()
    with Runner(folder) as runner:
        runner.run(list(steps(config, folder)))
    report = folder / "report.html"
    print(f"\nall done in {(time.monotonic() - began) / 60:.1f} minutes; open {report}", flush=True)
    return report


def steps(config: DemoConfig, folder: Path) -> Iterator[Step]:
    """The steps in order."""
    size = SIZES[config.task, config.quick]
    yield _generate(config, folder, size)
    curated = folder / "curated"
    yield Step(
        "curate: find what is parallel, write two training sets",
        ("curate", f"{folder}/traces.jsonl", f"--out={curated}"),
        makes=(curated,),
    )
    start = folder / "start"
    yield Step(
        "prepare: one untrained model for both",
        ("prepare", f"{curated}/sprint", f"{curated}/rft", f"--out={start}", f"--seed={config.seed}"),
        makes=(start,),
    )
    for method in METHODS:
        yield _train(config, folder, size, method)
    for method in METHODS:
        yield _evaluate(config, folder, size, method)
    yield _report(config, folder, size)


def _generate(config: DemoConfig, folder: Path, size: Size) -> Step:
    options = tuple(f"--task-options={option}" for option in size.options)
    words = ("generate", config.task, f"--n={size.num_traces}", f"--seed={config.seed}", f"--out={folder}/traces.jsonl")
    return Step("generate: a teacher's sequential traces", words + options, makes=(folder / "traces.jsonl",))


def _train(config: DemoConfig, folder: Path, size: Size, method: str) -> Step:
    words: tuple[str, ...] = ("train", f"{folder}/curated/{method}", f"--name={method}", f"--start={folder}/start")
    words += (f"--config={_recipe(config.task)}", f"--task={config.task}", f"--seed={config.seed}")
    words += (f"--out={folder}/training",)
    words += (f"--export={folder}/models/{method}", *size.training)
    run = folder / "training" / method
    return Step(f"train: the {method.upper()} model", words, makes=(folder / "models" / method,), resumes=run)


def _recipe(task: str) -> str:
    """The training settings of a task, which stand beside the training code."""
    return os.path.relpath(Path(__file__).resolve().parents[1] / "train" / "recipes" / f"{task}.yaml")


def _evaluate(config: DemoConfig, folder: Path, size: Size, method: str) -> Step:
    port = free_port()
    ready = folder / "logs" / f"{method}.url"
    server = ("serve", f"{folder}/models/{method}", f"--port={port}", f"--ready-file={ready}")
    out = folder / f"{method}.jsonl"
    words: tuple[str, ...] = (
        "evaluate",
        f"--task={config.task}",
        f"--n={size.num_problems}",
        f"--alone={size.num_problems // 5}",
        f"--label={method.upper()}",
    )
    words += (f"--base-url=http://127.0.0.1:{port}/v1", f"--max-tokens={size.max_tokens}", f"--out={out}")
    words += (f"--train-answers={folder}/curated/rft", *(f"--task-options={option}" for option in size.options))
    title = f"evaluate: {size.num_problems} held-out problems, {method.upper()} model"
    return Step(title, words, resumes=out, server=server, ready=ready)


def _report(config: DemoConfig, folder: Path, size: Size) -> Step:
    note = f"{size.num_traces} traces, curated by rules; twins with the same first weights, taught the same problems."
    if config.quick:
        note += " The quick demo trains for a few steps only, so neither has learned the task."
    words: tuple[str, ...] = ("report", f"{folder}/sprint.jsonl", f"{folder}/rft.jsonl", f"--out={folder}/report.html")
    words += (f"--title=SPRINT demo: {config.task}", f"--note={note}")
    return Step("report: compare the two", words, makes=(folder / "report.html", folder / "report.json"))
