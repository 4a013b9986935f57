"""The `sprint` command. Each subcommand reads its options, then calls one function of one room.

This is the one place in `sprint` that knows the rooms above it, and only inside functions: asking for help loads no
framework. A mistake is one line on standard error and exit code 2; an interruption is exit code 130.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field

import sprint
from sprint.commandline import command_of
from sprint.config import StrictModel
from sprint.errors import SprintError
from sprint.steps import Stopped

EXIT_MISTAKE, EXIT_INTERRUPTED = 2, 130


class AskConfig(StrictModel):
    """`sprint ask`."""

    question: str = Field(min_length=1, description="the question")
    base_url: str = Field("http://127.0.0.1:8000/v1", description="the endpoint")
    model: str = Field("", description="model name; empty: the first that the endpoint names")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0: greedy")
    max_tokens: int | None = Field(None, ge=1, description="most tokens to generate")
    seed: int | None = Field(None, description="makes a sampled answer reproducible")
    mode: Literal["auto", "parallel", "sequential"] = Field("auto", description="auto: as the model was taught")
    dispatch: Literal["pipelined", "barrier"] = Field("pipelined", description="when executors start")
    plain: bool = Field(False, description="text only, no drawing")


class NoConfig(StrictModel):
    """A command without options."""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is told, what it calls, and which fields are given by position."""

    about: str
    config: Callable[[], type[BaseModel]]
    run: Callable[[Any], object]
    arguments: Mapping[str, str] = field(default_factory=dict)


# --- the rooms -------------------------------------------------------------------------------------------------------


def _curate_config() -> type[BaseModel]:
    from pipelines.config import CurateConfig

    return CurateConfig


def _curate(config: Any) -> object:
    from pipelines.run import curate

    return curate(config)


def _prepare_config() -> type[BaseModel]:
    from train.prepare import PrepareConfig

    return PrepareConfig


def _prepare(config: Any) -> object:
    from train.prepare import prepare_start

    return prepare_start(config)


def _train_config() -> type[BaseModel]:
    from train.config import TrainConfig

    return TrainConfig


def _train(config: Any) -> object:
    from train.run import train

    return train(config)


def _serve_config() -> type[BaseModel]:
    from serve_app.config import ServeConfig

    return ServeConfig


def _serve(config: Any) -> object:
    from serve_app.run import serve

    serve(config)
    return None


# --- this room -------------------------------------------------------------------------------------------------------


def _generate_config() -> type[BaseModel]:
    from sprint.generate import GenerateConfig

    return GenerateConfig


def _generate(config: Any) -> object:
    from sprint.generate import generate

    return generate(config)


def _ask(config: AskConfig) -> object:
    from sprint.ask import ask

    given = {"temperature": config.temperature, "max_tokens": config.max_tokens, "seed": config.seed}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    options["sprint"] = {"mode": config.mode, "dispatch": config.dispatch}
    return ask(config.question, config.base_url, config.model, options, plain=config.plain or None)


def _evaluate_config() -> type[BaseModel]:
    from sprint.evals.config import EvalConfig

    return EvalConfig


def _evaluate(config: Any) -> object:
    from sprint.evals.run import evaluate

    return evaluate(config)


def _report_config() -> type[BaseModel]:
    from sprint.evals.config import ReportConfig

    return ReportConfig


def _report(config: Any) -> object:
    from sprint.evals.report import report

    return report(config)


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
        "\n\nExample: sprint curate traces/*.jsonl --out curated",
        _curate_config,
        _curate,
        {"inputs": "PATH..."},
    ),
    "prepare": Command(
        "Make a small untrained model to start from."
        "\n\nIts tokenizer is trained on the sets, so that twins share it and the first weights."
        "\n\nExample: sprint prepare curated/sprint curated/rft --out start",
        _prepare_config,
        _prepare,
        {"data": "FOLDER..."},
    ),
    "train": Command(
        "Fine-tune a model on a set (Ray Train, DeepSpeed)."
        "\n\nExample: sprint train curated/sprint --start start --name chains-sprint",
        _train_config,
        _train,
        {"data": "FOLDER"},
    ),
    "serve": Command(
        "Serve a model, OpenAI-compatible (Ray Serve, vLLM)."
        "\n\nA SPRINT model is answered for by a planner and parallel executors, any other as usual."
        "\n\nExample: sprint serve runs/chains-sprint/model --port 8000",
        _serve_config,
        _serve,
        {"model": "FOLDER"},
    ),
    "ask": Command(
        "Ask one question and watch the model think.\n\nExample: sprint ask 'What is 6 times 7?'",
        lambda: AskConfig,
        _ask,
        {"question": "QUESTION"},
    ),
    "evaluate": Command(
        "Pose held-out problems and grade the answers."
        "\n\nExample: sprint evaluate --task chains --n 300 --out sprint.jsonl",
        _evaluate_config,
        _evaluate,
    ),
    "report": Command(
        "Compare evaluations on one page.\n\nExample: sprint report sprint.jsonl rft.jsonl --out report.html",
        _report_config,
        _report,
        {"runs": "FILE..."},
    ),
    "version": Command("Print the version.", lambda: NoConfig, lambda _: print(sprint.__version__)),
}


# --- the command -----------------------------------------------------------------------------------------------------


def application(names: Sequence[str] = tuple(COMMANDS)) -> Any:
    """The typer application with these subcommands."""
    import typer

    about = "SPRINT: reasoning models that plan and execute in parallel."
    app = typer.Typer(help=about, add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    for name in names:
        known = COMMANDS[name]
        app.command(name)(command_of(known.config(), known.run, known.about, known.arguments))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # Only the subcommand asked for is built: its room's config is all that has to be read.
    asked = words[:1] if words[0] in COMMANDS else []
    try:
        code = application(asked or tuple(COMMANDS))(words, prog_name="sprint", standalone_mode=False)
    except SprintError as error:
        return _mistake(str(error))
    except Exit as exit_:
        return int(exit_.exit_code)
    except (KeyboardInterrupt, Abort, Stopped):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except TyperException as error:
        hint = " ".join(["sprint", *asked, "--help"])
        return _mistake(f"{error.format_message().strip().rstrip('.')} (see {hint})")
    return code if isinstance(code, int) and not isinstance(code, bool) else 0


def _mistake(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return EXIT_MISTAKE


if __name__ == "__main__":
    sys.exit(main())
