"""The doors to the rooms above `sprint`: for each of their commands its options, and the function that it calls.

This is the one place in `sprint` that knows those rooms, and only inside functions: asking for help loads no framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def curate_config() -> type[BaseModel]:
    from pipelines.config import CurateConfig

    return CurateConfig


def curate(config: Any) -> object:
    from pipelines.run import curate

    return curate(config)


def inspect_config() -> type[BaseModel]:
    from pipelines.views.config import InspectConfig

    return InspectConfig


def inspect(config: Any) -> object:
    from pipelines.views.inspect import inspect

    return inspect(config)


def compare_config() -> type[BaseModel]:
    from pipelines.views.config import CompareConfig

    return CompareConfig


def compare(config: Any) -> object:
    from pipelines.views.compare import compare

    return compare(config)


def prepare_config() -> type[BaseModel]:
    from train.prepare import PrepareConfig

    return PrepareConfig


def prepare(config: Any) -> object:
    from train.prepare import prepare_start

    return prepare_start(config)


def train_config() -> type[BaseModel]:
    from train.config import TrainConfig

    return TrainConfig


def train(config: Any) -> object:
    if config.dry_run:
        from train.dryrun import dry_run

        return dry_run(config)
    from train import run

    return run.train(config)


def serve_config() -> type[BaseModel]:
    from serve_app.config import ServeConfig

    return ServeConfig


def serve(config: Any) -> object:
    from serve_app.run import serve

    serve(config)
    return None


def evaluate_batch(config: Any) -> object:
    from pipelines.evaluation.run import evaluate_batch

    return evaluate_batch(config)
