"""What a run may be gone on with: the same settings, the same rows a step, whatever the number of workers.

It knows settings and the run's folder; nothing of how training goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sprint.errors import ConfigError
from sprint.files import read_json, write_json
from train.checkpoints import converted, discard_drafts, latest
from train.config import TrainConfig
from train.options import Where
from train.universal import convert

SETTINGS = "config.json"
_STEPS = "steps.json"

# What a run is told about its course, its records and its machines, but not about what it computes.
_MAY_CHANGE = {"resume", "dry_run", "estimate", "out", "export", "smoke", "log_every", "tracking"}
_MAY_CHANGE |= {"checkpoint_every", "keep_checkpoints", "max_failures", "threads", "resources", "nodes"}
_RESHAPES = {"workers", "accumulation", "micro_rows", "batch_tokens"}  # as long as the rows of a step stay as many


def check_name(config: TrainConfig) -> None:
    """A used name goes on only when asked to, and only with the same settings. Raises ConfigError."""
    settings = config.folder / SETTINGS
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
    same = now.keys() - _MAY_CHANGE - _RESHAPES
    changed = sorted(key for key in same if now[key] != before.get(key, _default(key)))
    if changed:
        raise ConfigError(
            f"resume: run {config.name!r} was begun with {changed[0]} = {before.get(changed[0])!r}, "
            f"expected the same, found {now[changed[0]]!r}",
            field=changed[0],
        )


def _default(key: str) -> Any:
    """What a run of an earlier version, which did not know an option, did."""
    default = TrainConfig.model_fields[key].get_default(call_default_factory=True)
    return default.model_dump(mode="json") if hasattr(default, "model_dump") else default


def begin(config: TrainConfig) -> None:
    """Make a new run's folder one that can be gone on with, however early it stops."""
    if not (config.folder / SETTINGS).exists():
        keep_settings(config)


def keep_settings(config: TrainConfig) -> None:
    """Remember what a run was told, once it has been checked, for the day it is gone on with."""
    write_json(config.folder / SETTINGS, config.model_dump(mode="json"))


def keep_steps(config: TrainConfig, micro_rows: int, steps: int) -> None:
    """Remember how many rows a step takes; gone on with, a run must take as many. Raises ConfigError."""
    check_steps(config, micro_rows, steps)
    rows = config.workers * config.accumulation * micro_rows
    write_json(config.folder / _STEPS, {"rows": rows, "steps": steps})


def check_steps(config: TrainConfig, micro_rows: int, steps: int) -> None:
    """Whether a run that is there takes as many rows a step and as many steps. Raises ConfigError."""
    rows = config.workers * config.accumulation * micro_rows
    path = config.folder / _STEPS
    if path.exists():
        before = read_json(path)
        if before["rows"] != rows:
            raise ConfigError(_other_rows(config, micro_rows, before["rows"]), field="workers")
        if before["steps"] != steps:
            raise ConfigError(f"resume: run {config.name!r} was begun for {before['steps']} steps, found {steps}")


def _other_rows(config: TrainConfig, micro_rows: int, rows: int) -> str:
    """A sentence that names the option which would keep the rows of a step, where there is one."""
    share = config.workers * micro_rows
    now = f"{config.workers} workers x {config.accumulation} micro steps x {micro_rows} rows"
    cure = "a workers x accumulation x micro_rows that gives as many"
    if rows % share == 0:
        cure = f"accumulation={rows // share} micro_rows={micro_rows}"
    elif rows % config.workers == 0:
        cure = f"accumulation=1 micro_rows={rows // config.workers}"
    return f"resume: run {config.name!r} takes {rows} rows a step, found {now}, expected {cure}"


def make_ready(config: TrainConfig, say: Callable[[str], None]) -> None:
    """Remove what a stopped run left half written, and let the present workers read the latest checkpoint.

    Raises ConfigError or SprintError when another number of workers wrote it and it cannot be converted.
    """
    discard_drafts(config.folder)
    found = latest(config.folder)
    if found is None:
        if config.resume:
            say(f"{config.name} has no checkpoint in {config.out} to go on from: it begins at step 1")
        return
    say(f"going on with {config.name} after step {found.step}")
    if found.world == config.workers or config.zero_stage == 0 or converted(found):
        return
    if Where.NVME in (config.offload.optimizer, config.offload.parameters):
        raise ConfigError(
            f"resume: what {found.world} workers keep on NVMe cannot be read by {config.workers}, "
            f"expected workers={found.world}",
            field="workers",
        )
    say(f"converting its checkpoint of {found.world} workers for {config.workers}")
    convert(found.folder)
