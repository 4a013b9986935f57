"""The `sprint` command. Each subcommand reads its options, then calls one function: of this room, or of one above.

Everything is imported inside functions: asking for help loads no framework.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

import sprint
from sprint import rooms
from sprint.commandline import Command, execute
from sprint.config import StrictModel


class NoConfig(StrictModel):
    """A command without options."""


def _generate_config() -> type[BaseModel]:
    from sprint.generate import GenerateConfig

    return GenerateConfig


def _generate(config: Any) -> object:
    from sprint.generate import generate

    return generate(config)


def _ask_config() -> type[BaseModel]:
    from sprint.ask_config import AskConfig

    return AskConfig


def _ask(config: Any) -> object:
    from sprint.ask_config import ask_with

    return ask_with(config)


def _evaluate_config() -> type[BaseModel]:
    from sprint.evals.config import EvalConfig

    return EvalConfig


def _evaluate(config: Any) -> object:
    if config.batch:
        return rooms.evaluate_batch(config)
    from sprint.evals.run import evaluate

    return evaluate(config)


def _import_config() -> type[BaseModel]:
    from sprint.imports.config import ImportConfig

    return ImportConfig


def _import(config: Any) -> object:
    from sprint.imports.run import import_run

    return import_run(config)


def _report_config() -> type[BaseModel]:
    from sprint.evals.config import ReportConfig

    return ReportConfig


def _report(config: Any) -> object:
    from sprint.evals.report import report

    return report(config)


def _submit_config() -> type[BaseModel]:
    from sprint.submit_config import SubmitConfig

    return SubmitConfig


def _submit(config: Any) -> object:
    from sprint.submit import submit

    submit(config)
    return None


def _demo_config() -> type[BaseModel]:
    from sprint.demo import DemoConfig

    return DemoConfig


def _demo(config: Any) -> object:
    from sprint.demo import demo

    return demo(config)


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "Run the whole recipe and write a page about it."
        "\n\nTraces are written and curated, two models trained, served and measured.\n\nExample: sprint demo --quick",
        _demo_config,
        _demo,
    ),
    "generate": Command(
        "Write a teacher's traces of a generated task.\n\nExample: sprint generate chains --n 1000 --out traces.jsonl",
        _generate_config,
        _generate,
        {"task": "TASK"},
    ),
    "curate": Command(
        "Make training sets out of traces (Ray Data)."
        "\n\nFinds what is parallel in them, and writes a SPRINT and an RFT set of the same problems."
        "\n\nExample: sprint curate traces/*.jsonl --out curated"
        "\n\nWith a model: sprint curate s3://bucket/traces --annotator openai --endpoint model=gpt-4o-mini",
        rooms.curate_config,
        rooms.curate,
        {"inputs": "INPUT..."},
    ),
    "curate inspect": Command(
        "Show one row of a curation, from raw trace to rounds."
        "\n\nExample: sprint curate inspect curated trace-17 --html trace-17.html",
        rooms.inspect_config,
        rooms.inspect,
        {"run": "RUN", "id": "ID"},
    ),
    "curate compare": Command(
        "Compare how two curations annotated the same traces.\n\nExample: sprint curate compare by-rules by-model",
        rooms.compare_config,
        rooms.compare,
        {"first": "RUN_A", "second": "RUN_B"},
    ),
    "prepare": Command(
        "Make a small untrained model to start from."
        "\n\nIts tokenizer is trained on the sets, so that twins share it and the first weights."
        "\n\nExample: sprint prepare curated/sprint curated/rft --out start",
        rooms.prepare_config,
        rooms.prepare,
        {"data": "FOLDER..."},
    ),
    "train": Command(
        "Fine-tune a model on a set (Ray Train, DeepSpeed)."
        "\n\nExample: sprint train curated/sprint --start start --name chains-sprint",
        rooms.train_config,
        rooms.train,
        {"data": "FOLDER"},
    ),
    "serve": Command(
        "Serve a model, OpenAI-compatible (Ray Serve, vLLM)."
        "\n\nA SPRINT model is answered for by a planner and parallel executors, any other as usual."
        "\n\nExample: sprint serve runs/chains-sprint/model --port 8000",
        rooms.serve_config,
        rooms.serve,
        {"model": "FOLDER"},
    ),
    "ask": Command(
        "Ask one question and watch the model think.\n\nExample: sprint ask 'What is 6 times 7?'",
        _ask_config,
        _ask,
        {"question": "QUESTION"},
    ),
    "evaluate": Command(
        "Pose held-out problems and grade the answers."
        "\n\nExample: sprint evaluate --task chains --n 300 --out sprint.jsonl"
        "\n\nWithout a server: sprint evaluate --batch --engine model=FOLDER --task chains --out sprint.jsonl",
        _evaluate_config,
        _evaluate,
    ),
    "import": Command(
        "Make a run out of outputs written elsewhere, to be compared like any other."
        "\n\nFormats: sprint (plans and executions), sequential, parallel (Path), multiverse, threadweaver."
        "\n\nExample: sprint import sprint outputs.jsonl --tokenizer qwen.tiktoken --out theirs.jsonl",
        _import_config,
        _import,
        {"format": "FORMAT", "file": "FILE"},
    ),
    "report": Command(
        "Compare evaluations on one page.\n\nExample: sprint report sprint.jsonl rft.jsonl --out report.html",
        _report_config,
        _report,
        {"runs": "FILE..."},
    ),
    "submit": Command(
        "Run a command as a job on a Ray cluster, and follow it."
        "\n\nIts options are checked here first. An interruption leaves the job running."
        "\n\nExample: sprint submit --name cur1 curate s3://bucket/traces --out s3://bucket/curated",
        _submit_config,
        _submit,
        {"words": "COMMAND..."},
        passes_on=True,
    ),
    "version": Command("Print the version.", lambda: NoConfig, lambda _: print(sprint.__version__)),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code."""
    about = "SPRINT: reasoning models that plan and execute in parallel."
    return execute("sprint", about, COMMANDS, sys.argv[1:] if words is None else words)


if __name__ == "__main__":
    sys.exit(main())
