"""The driver: checks everything, prepares rows and a start, lets Ray Train run the workers, exports the model.

What can be wrong is found before Ray starts. It knows nothing of gradients.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sprint.card import Instruction, Method, ModelCard
from sprint.errors import ConfigError, SprintError
from sprint.files import read_json, read_jsonl, write_json
from sprint.local_ray import ray_session
from sprint.render import Layout, Prompter
from sprint.tokenizer import HFTokenizer
from train.config import SCRATCH, TrainConfig, TrainSummary
from train.data import Curated, Order, RowsInfo, encode, read_curated, write_rows
from train.export import check_target, finish, put_folder
from train.loop import ROWS, WEIGHTS, Job, worker
from train.models import check_start, prepare
from train.process import environment
from train.progress import METRICS, followed

Say = Callable[[str], None]
_SETTINGS = "config.json"
_MAY_CHANGE = {"resume", "out", "export", "log_every", "checkpoint_every", "keep_checkpoints", "max_failures"}


def train(config: TrainConfig, say: Say = print) -> TrainSummary:
    """Fine-tune a model on a curated set and export it.

    Raises ConfigError or InputError, in one sentence, before anything runs; SprintError when a worker fails for good.
    `say` receives the lines a person reads.
    """
    config = _absolute(config)
    curated = read_curated(config.data)
    check_target(config.export_folder)
    _check_name(config)
    with _nothing_left_behind(config.folder):
        write_json(config.folder / _SETTINGS, config.model_dump(mode="json"))
        start = _start(config, curated)
        tokenizer, context = check_start(start)
        card = _card(config, curated.method)
        info = _rows(config, curated, Prompter(tokenizer, card), context)
    job = _job(config, start, info)
    _announce(config, card, info, job, say)
    cpus = max(os.cpu_count() or 1, config.workers * config.threads)
    with ray_session(cpus), followed(config.folder, say):
        _fit(job)
    return _finish(job, info, tokenizer, card, say)


def _absolute(config: TrainConfig) -> TrainConfig:
    """Paths that mean the same in a worker, which runs in a folder of its own."""
    paths: dict[str, object] = {"data": config.data.absolute(), "out": config.out.absolute()}
    if config.export:
        paths["export"] = config.export.absolute()
    if config.start != SCRATCH and Path(config.start).exists():
        paths["start"] = str(Path(config.start).absolute())
    return config.model_copy(update=paths)


# --- before ----------------------------------------------------------------------------------------------------------


def _check_name(config: TrainConfig) -> None:
    """A used name goes on only when asked to, and only with the same settings."""
    settings = config.folder / _SETTINGS
    if not settings.exists():
        if config.folder.exists() and any(config.folder.iterdir()):
            raise ConfigError(f"{config.folder} exists and is not a training run, expected a new name", field="name")
        return
    if not config.resume:
        raise ConfigError(
            f"run {config.name!r} already exists in {config.out}: give resume to go on with it, or another name",
            field="name",
        )
    before, now = read_json(settings), config.model_dump(mode="json")
    changed = sorted(key for key in now if key not in _MAY_CHANGE and now[key] != before.get(key))
    if changed:
        raise ConfigError(
            f"resume: run {config.name!r} was begun with {changed[0]} = {before.get(changed[0])!r}, "
            f"expected the same, found {now[changed[0]]!r}",
            field=changed[0],
        )


@contextmanager
def _nothing_left_behind(folder: Path) -> Iterator[None]:
    """A new folder disappears again when its preparation fails."""
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _start(config: TrainConfig, curated: Curated) -> str:
    """Where the weights come from; for `scratch`, a folder made from this run's texts."""
    if config.start != SCRATCH:
        return config.start
    folder = config.folder / "start"
    if not folder.exists():
        prepare(curated.questions + curated.texts, folder, config.seed)
    return str(folder)


def _card(config: TrainConfig, method: Method) -> ModelCard:
    taught = Instruction.SPRINT if method is Method.SPRINT else Instruction.SEQUENTIAL
    default = Instruction.NONE if config.start == SCRATCH else taught
    return ModelCard(method, config.instruction or default, config.task)


def _rows(config: TrainConfig, curated: Curated, prompter: Prompter, context: int) -> RowsInfo:
    """The packed rows, written once; a resumed run must come to the same ones."""
    rows = encode(curated, prompter, Layout(config.layout))
    folder = config.folder / ROWS
    before = read_json(folder / "info.json")["fingerprint"] if (folder / "info.json").exists() else None
    with put_folder(folder) as draft:
        info = write_rows(rows, draft, config.row_tokens, context, pad_id=prompter.tokenizer.eos_id or 0)
        if before not in (None, info.fingerprint):
            raise ConfigError(f"resume: {config.data} no longer holds what {config.name!r} began with", field="data")
    return info


def _job(config: TrainConfig, start: str, info: RowsInfo) -> Job:
    micro_rows = config.micro_rows or max(1, round(config.batch_tokens / info.row_tokens))
    order = Order(info.num_rows, micro_rows, config.accumulation, config.workers, config.seed)
    every = config.checkpoint_every or order.steps(1.0)
    return Job(config, start, micro_rows, config.max_steps or order.steps(config.epochs), every)


def _announce(config: TrainConfig, card: ModelCard, info: RowsInfo, job: Job, say: Say) -> None:
    say(
        f"training {config.name}: {card.method} on {info.examples} examples, {info.num_rows} rows of {info.row_tokens} "
        f"tokens; {job.steps} steps of {config.workers} x {config.accumulation} x {job.micro_rows} rows"
    )
    if info.dropped:
        say(f"dropped {info.dropped} examples longer than {info.row_tokens} tokens (longest: {info.longest_tokens})")


# --- during ----------------------------------------------------------------------------------------------------------


def _fit(job: Job) -> None:
    """Run the workers. Raises SprintError with the first line of what went wrong in them."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    config = job.config
    default = {"CPU": float(config.threads)} | ({"GPU": 1.0} if config.use_gpu else {})
    trainer = TorchTrainer(
        _train_on_worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=config.workers, use_gpu=config.use_gpu, resources_per_worker=config.resources or default
        ),
        run_config=RunConfig(
            name=config.name,
            storage_path=str(config.out.absolute()),
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=config.keep_checkpoints),
            worker_runtime_env={"env_vars": environment(config)},
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise SprintError(f"training {config.name} failed: {_reason(error)}; see {config.folder}") from error


def _reason(error: Exception) -> str:
    """The last line of the workers' traceback that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _train_on_worker(settings: dict[str, Any]) -> None:
    worker(settings["job"])


# --- after -----------------------------------------------------------------------------------------------------------


def _finish(job: Job, info: RowsInfo, tokenizer: HFTokenizer, card: ModelCard, say: Say) -> TrainSummary:
    config = job.config
    finish(config.folder / WEIGHTS, tokenizer, card, config.export_folder)
    last = list(read_jsonl(config.folder / METRICS))[-1]
    summary = TrainSummary(
        name=config.name,
        method=card.method,
        steps=last["step"],
        examples=info.examples,
        dropped=info.dropped,
        tokens=last["tokens"],
        supervised_tokens=last["supervised_tokens"],
        final_loss=last["loss"],
        seconds=last["seconds"],
        export=config.export_folder,
    )
    write_json(config.folder / "summary.json", summary.model_dump(mode="json"))
    say(f"trained {config.name}: {summary.steps} steps, loss {summary.final_loss:.4f}; model in {summary.export}")
    return summary
