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
from urllib.parse import quote

from sprint.card import Instruction, Method, ModelCard
from sprint.errors import ConfigError, SprintError
from sprint.files import read_json
from sprint.local_ray import ray_session
from sprint.locks import sole_writer_in
from sprint.nodes import await_room
from sprint.render import Layout, Prompter, Supervise
from sprint.tokenizer import HFTokenizer
from train import lora
from train.attention import resolve
from train.before import checked
from train.checkpoints import discard_drafts
from train.closing import close
from train.config import SCRATCH, Precision, TrainConfig, TrainSummary
from train.data import Order, RowsInfo, encode, write_rows
from train.faults import Fault, told
from train.files import put_folder
from train.loop import ROWS, Job, worker
from train.models import check_start, prepare, vocabulary
from train.options import Attention
from train.process import environment
from train.progress import followed
from train.reading import Curated
from train.refusals import check_room
from train.resume import SETTINGS, begin, keep_settings, keep_steps, make_ready
from train.validation import HELD_OUT

Say = Callable[[str], None]

_NODES_S = 1800  # how long Ray waits for workers before it asks anew: a cloud takes minutes to give a node


def train(config: TrainConfig, say: Say = print) -> TrainSummary:
    """Fine-tune a model on a curated set and export it.

    Raises ConfigError or InputError, in one sentence, before anything runs; SprintError when a worker fails for good.
    `say` receives the lines a person reads.
    """
    config, curated, training, held_out = checked(config)
    if config.dry_run:
        raise ConfigError("dry_run: train.dryrun.dry_run says what a run would take", field="dry_run")
    with sole_writer_in(config.folder):
        return _train(config, curated, training, held_out, say)


def _train(
    config: TrainConfig, curated: Curated, training: Curated, held_out: Curated | None, say: Say
) -> TrainSummary:
    """The same, of settings that have been checked, by the only process that writes to the run's folder."""
    with _nothing_left_behind(config.folder):
        job, info, tokenizer, card = make_rows(config, curated, training, held_out)
    keep_settings(config)
    _announce(config, card, info, job, say)
    make_ready(config, say)
    cpus = max(os.cpu_count() or 1, config.workers * config.threads)
    Fault.forget(config.folder)  # of a run whose driver was killed before it could tell
    with ray_session(cpus):
        if config.nodes or os.environ.get("RAY_ADDRESS"):  # a cluster may still grow
            claims = {name: config.workers * amount for name, amount in _resources(config).items()}
            await_room(config.nodes, claims, f"the workers of {config.name}", say)
        else:
            check_room(config.workers, _resources(config), _cluster_resources())
        with followed(config.folder, say):
            _fit(job)
    _check_fault(config, training)
    return close(config, curated, info, tokenizer, card, say)


# --- before ----------------------------------------------------------------------------------------------------------


def make_rows(
    config: TrainConfig, curated: Curated, training: Curated, held_out: Curated | None
) -> tuple[Job, RowsInfo, HFTokenizer, ModelCard]:
    """Fill the run's folder with what the workers read, and see how many steps that makes."""
    begin(config)
    start = _start(config, curated)
    tokenizer, context = check_start(start)
    card = _card(config, curated.method)
    prompter, ids = Prompter(tokenizer, card), vocabulary(start)
    info = _rows(config, training, prompter, ids, context)
    if held_out:
        as_long = config.model_copy(update={"row_tokens": info.row_tokens})
        _rows(as_long, held_out, prompter, ids, context, HELD_OUT)
    job = _job(config, start, info, card)
    keep_steps(config, job.micro_rows, job.steps)
    return job, info, tokenizer, card


@contextmanager
def _nothing_left_behind(folder: Path) -> Iterator[None]:
    """A new folder disappears again when its preparation fails."""
    new = not (folder / SETTINGS).exists()  # it may be there, and empty
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


def _rows(
    config: TrainConfig, curated: Curated, prompter: Prompter, vocabulary: int, context: int, name: str = ROWS
) -> RowsInfo:
    """The packed rows, written once; a resumed run must come to the same ones."""
    layout, fp32 = Layout(config.layout), config.precision is Precision.FP32
    branches = curated.method is Method.SPRINT and layout is Layout.EXACT
    tight = resolve(config.attention, branches, config.use_gpu, fp32) is not Attention.DENSE
    rows = encode(curated, prompter, layout, Supervise(config.supervise), vocabulary)
    folder = config.folder / name
    with put_folder(folder) as draft:
        info = write_rows(rows, draft, config.row_tokens, context, prompter.tokenizer.eos_id or 0, tight)
        check_rows(config, info.fingerprint, name)
    return info


def check_rows(config: TrainConfig, fingerprint: str, name: str = ROWS) -> None:
    """Whether a run that is there was begun with these rows. Raises ConfigError."""
    before = config.folder / name / "info.json"
    if before.exists() and read_json(before)["fingerprint"] != fingerprint:
        raise ConfigError(f"resume: {config.data} no longer holds what {config.name!r} began with", field="data")


def _job(config: TrainConfig, start: str, info: RowsInfo, card: ModelCard) -> Job:
    micro_rows = config.micro_rows or max(1, round(config.batch_tokens / info.row_tokens))
    order = Order(info.num_rows, micro_rows, config.accumulation, config.workers, config.seed)
    every = config.checkpoint_every or order.steps(1.0)
    return Job(config, start, micro_rows, config.max_steps or order.steps(config.epochs), every, card)


def _announce(config: TrainConfig, card: ModelCard, info: RowsInfo, job: Job, say: Say) -> None:
    say(
        f"training {config.name}: {card.method} on {info.examples} examples, {info.num_rows} rows of {info.row_tokens} "
        f"tokens; {job.steps} steps of {config.workers} x {config.accumulation} x {job.micro_rows} rows"
    )
    if config.lora.rank:
        say(lora.WARNING)
    if config.warmup_steps >= job.steps:
        say(f"warning: {config.warmup_steps} warmup_steps are all of {job.steps} steps: no rate reaches its peak")
    if info.dropped:
        say(f"dropped {info.dropped} examples longer than {info.row_tokens} tokens (longest: {info.longest_tokens})")
    if config.validation.share:
        held = RowsInfo(**read_json(config.folder / HELD_OUT / "info.json"))
        dropped = f", dropped {held.dropped} longer than a row" if held.dropped else ""
        say(f"validating on {held.examples} examples held out{dropped}")


# --- during ----------------------------------------------------------------------------------------------------------


def _fit(job: Job) -> None:
    """Run the workers. Raises SprintError with the first line of what went wrong in them."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from train.network import NodeConfig

    config = job.config
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(_NODES_S))
    trainer = TorchTrainer(
        _train_on_worker,
        train_loop_config={"job": job},
        torch_config=NodeConfig(),
        scaling_config=ScalingConfig(
            num_workers=config.workers,
            use_gpu=config.use_gpu,
            resources_per_worker=_resources(config),
            label_selector=dict(config.nodes) or None,
        ),
        run_config=RunConfig(
            name=f"ray-{quote(config.name, safe='')}",  # Ray takes ASCII only
            storage_path=str(config.folder),
            failure_config=FailureConfig(max_failures=config.max_failures),
            worker_runtime_env={"env_vars": environment(config)},
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        discard_drafts(config.folder)
        raise SprintError(f"training {config.name} failed: {_reason(error)}; see {config.folder}") from error


def _resources(config: TrainConfig) -> dict[str, float]:
    """What Ray sets aside for a worker."""
    return config.resources or {"CPU": float(config.threads)} | ({"GPU": 1.0} if config.use_gpu else {})


def _cluster_resources() -> dict[str, float]:
    import ray

    there: dict[str, float] = ray.cluster_resources()
    return there


def _reason(error: Exception) -> str:
    """What a worker raised on purpose; otherwise the last line of the workers' traceback that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line.partition(": ")[2] for line in lines if line.startswith(f"{SprintError.__module__}.")]
    return next(iter(own + lines[::-1]), type(error).__name__)


def _check_fault(config: TrainConfig, training: Curated) -> None:
    """Raises SprintError when a loss or gradient that is no finite number stopped the workers."""
    fault = Fault.load(config.folder)
    if fault is not None:
        fault.forget(config.folder)
        raise SprintError(f"training {config.name} stopped: {told(fault, config.folder, training.ids)}")


def _train_on_worker(settings: dict[str, Any]) -> None:
    worker(settings["job"])
