"""Checkpoints of a run: written whole or not at all, the latest and the best kept, torn ones passed over.

Every worker takes part in writing and reading. A checkpoint is a folder `checkpoints/step-…` of the run, which all
machines share: DeepSpeed's files are written there at once, under a draft's name, and rank 0 renames the draft when all
have written, so that nothing is copied and no small temporary disk fills. Ray keeps no list of them: that list would be
a second truth, and is not written atomically. It knows no loop, no data and no model.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprint.errors import InputError, SprintError
from sprint.files import read_json, write_json
from train.universal import UNIVERSAL, load_universal

FOLDER = "checkpoints"
ENGINE = "engine"  # DeepSpeed's files inside a checkpoint
_STATE = "state.json"
_DRAFT = ".part"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint.

    step   optimizer steps behind it
    world  workers that wrote it
    score  validation loss, where there was one (lower is better)
    state  what the loop wanted to remember
    files  bytes of every file, by its path in the folder
    """

    folder: Path
    step: int
    world: int
    score: float | None
    state: dict[str, Any]
    files: dict[str, int]


# --- what there is ---------------------------------------------------------------------------------------------------


def whole_checkpoints(run: Path) -> list[Checkpoint]:
    """The checkpoints of a run's folder, oldest first. Drafts and torn ones are not among them."""
    found = [_read(folder) for folder in (run / FOLDER).glob("step-*") if not folder.name.endswith(_DRAFT)]
    return sorted((one for one in found if one is not None), key=lambda one: one.step)


def latest(run: Path) -> Checkpoint | None:
    """The checkpoint that a run goes on from."""
    return next(reversed(whole_checkpoints(run)), None)


def best(run: Path) -> Checkpoint | None:
    """The checkpoint with the lowest validation loss; of equal ones the earliest."""
    scored = [one for one in whole_checkpoints(run) if one.score is not None]
    return min(scored, key=lambda one: (one.score, one.step), default=None)


def discard_drafts(run: Path) -> None:
    """Remove what was being written when a run stopped."""
    for draft in (run / FOLDER).glob(f"*{_DRAFT}"):
        shutil.rmtree(draft, ignore_errors=True)


def _read(folder: Path) -> Checkpoint | None:
    """A checkpoint, or None when it is torn: a file that it lists is missing or has another length."""
    try:
        values = read_json(folder / _STATE)
        one = Checkpoint(folder, **values)
        sizes = {name: (folder / name).stat().st_size for name in one.files}
    except (InputError, OSError, TypeError):
        return None
    return one if sizes == one.files else None


# --- every worker ----------------------------------------------------------------------------------------------------


class Checkpoints:
    """One worker's hand in the checkpoints of a run: all workers call the same methods at the same steps."""

    def __init__(self, run: Path, keep: int, keep_best: int, seed: int) -> None:
        """`keep` latest and `keep_best` best ones stay. `seed` of random numbers that no checkpoint has."""
        import torch.distributed as dist

        self._run, self._keep, self._keep_best, self._seed = run, keep, keep_best, seed
        self._rank, self._world = dist.get_rank(), dist.get_world_size()

    def restore(self, engine: Any) -> dict[str, Any] | None:
        """Bring a fresh engine and the random numbers to the latest whole checkpoint; the state saved with it, or None.

        Raises SprintError, naming the command that converts it, when other workers wrote it and it is not converted.
        """
        from train.rng import seed_everything

        chosen = self._agreed_latest()
        if chosen is None:
            seed_everything(self._seed, self._rank)
            return None
        if chosen.world == self._world or not engine.zero_optimization():
            path, _ = engine.load_checkpoint(str(chosen.folder), tag=ENGINE)
            assert path is not None, "a whole checkpoint without an engine"
        else:
            load_universal(engine, chosen.folder)
        self._restore_random_numbers(chosen)
        return chosen.state

    def save(self, engine: Any, step: int, state: dict[str, Any], score: float | None = None) -> None:
        """Write a checkpoint; then those are removed that are neither among the latest nor among the best.

        Raises SprintError, in one sentence, when it cannot be written; the checkpoints before it are then as they were.
        """
        folder = self._run / FOLDER / f"step-{step:08d}"
        draft = folder.with_name(folder.name + _DRAFT)
        try:
            self._write(engine, draft)
            if self._rank == 0:
                _complete(Checkpoint(draft, step, self._world, score, state, _sizes(draft)), folder)
        except (OSError, RuntimeError) as error:
            reason = _disk_error(error, folder.parent)
            if reason is None:
                raise
            raise SprintError(self._failure(folder, step, reason)) from error
        if self._rank == 0:
            self._prune()
        self._wait()

    def _write(self, engine: Any, draft: Path) -> None:
        from train.rng import save_states

        if self._rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self._wait()
        save_states(draft / _random_numbers(self._rank))
        engine.save_checkpoint(str(draft), tag=ENGINE)  # every worker has written when it returns

    def _agreed_latest(self) -> Checkpoint | None:
        """Rank 0 looks: on a network disk others may still see what was."""
        import torch.distributed as dist

        found: list[Any] = [None]
        if self._rank == 0:
            discard_drafts(self._run)
            found = [latest(self._run)]
        dist.broadcast_object_list(found, src=0)
        chosen: Checkpoint | None = found[0]
        return chosen

    def _restore_random_numbers(self, chosen: Checkpoint) -> None:
        """As many workers as wrote them go on with their own; others get new ones, the same every time."""
        from train.rng import load_states, seed_everything

        if chosen.world == self._world:
            load_states(chosen.folder / _random_numbers(self._rank))
        else:
            seed_everything(self._seed + chosen.step, self._rank)

    def _prune(self) -> None:
        there = whole_checkpoints(self._run)
        scored = sorted((one for one in there if one.score is not None), key=lambda one: (one.score, one.step))
        kept = {one.step for one in there[-self._keep :] + scored[: self._keep_best]}
        for one in there:
            if one.step not in kept:
                shutil.rmtree(one.folder, ignore_errors=True)

    def _failure(self, folder: Path, step: int, reason: str) -> str:
        before = latest(self._run)
        intact = f"the one of step {before.step} is intact" if before else "there is none before it"
        return f"the checkpoint of step {step} could not be written to {folder}: {reason}; {intact}"

    @staticmethod
    def _wait() -> None:
        import torch.distributed as dist

        dist.barrier()


def _random_numbers(rank: int) -> str:
    return f"random-{rank:05d}.pt"


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _complete(draft: Checkpoint, folder: Path) -> None:
    """Put a draft in place: its state, everything on the disk, and then the name."""
    values = {name: getattr(draft, name) for name in ("step", "world", "score", "state", "files")}
    write_json(draft.folder / _STATE, values)
    for name in (*draft.files, _STATE):
        _sync(draft.folder / name)
    shutil.rmtree(folder, ignore_errors=True)  # a torn one of the same step
    draft.folder.replace(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(error: OSError | RuntimeError, folder: Path) -> str | None:
    """Why nothing could be written, in words, or None when the error is not about writing: torch hides the reason."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if "PytorchStreamWriter" not in str(error) and "inline_container" not in str(error):
        return None
    free = shutil.disk_usage(folder).free >> 20
    return f"a file could not be written whole ({free} MiB are free there)"


def converted(checkpoint: Checkpoint) -> bool:
    """Whether another number of workers can read it."""
    return (checkpoint.folder / UNIVERSAL).is_dir()
