"""The runs of a report: read from their files, each of which is known by its SHA-256.

Files with the same label and different seeds are samples of the same problems, and so one run. It knows files and who
belongs together, and computes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sprint.errors import InputError
from sprint.evals.results import Result, by_problem, read_results


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file that results were read from. `seeds` are those of its sampling."""

    path: str
    sha256: str
    num_rows: int
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run: what came of it, and the files that say so. The results of one problem are its samples."""

    files: tuple[RunFile, ...]
    results: list[Result]

    @property
    def label(self) -> str:
        return self.results[0].label

    @property
    def problems(self) -> dict[str, list[Result]]:
        return by_problem(self.results)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in the order of their first files.

    Raises InputError for a file that is missing, empty or of something else, for runs of different tasks, and for two
    files that claim to be the same run.
    """
    found: dict[str, Run] = {}
    for path in paths:
        run = read_run(path)
        first = next(iter(found.values()), run)
        _check_task(run, first)
        found[run.label] = _joined(found[run.label], run) if run.label in found else run
    return list(found.values())


def read_run(path: Path) -> Run:
    """The run of one file. Raises InputError where it is not one, or holds a sample of a problem twice."""
    results = read_results(path)
    seen: set[tuple[object, ...]] = set()
    for result in results:
        if (key := (result.id, result.seed, result.sampling_seed, result.sample)) in seen:
            raise InputError(f"{path} holds sample {result.sample} of problem {result.id!r} twice, expected it once")
        seen.add(key)
    seeds = tuple(sorted({result.seed for result in results}))
    return Run((RunFile(str(path), _digest(path), len(results), seeds),), results)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_task(run: Run, first: Run) -> None:
    mine, theirs = run.results[0].task, first.results[0].task
    if mine != theirs:
        where = f"{run.files[0].path} is of task {mine!r}, {first.files[0].path} of {theirs!r}"
        raise InputError(f"{where}: expected one task")


def _joined(run: Run, more: Run) -> Run:
    """Two files of one run. Raises InputError when they cannot be: the same seed, another model or temperature."""
    mine, theirs = run.results[0], more.results[0]
    seeds = {seed for file in run.files for seed in file.seeds}
    if seeds & set(more.files[0].seeds) or (mine.model, mine.temperature) != (theirs.model, theirs.temperature):
        raise InputError(
            f"two runs are both labelled {run.label!r}, expected different labels (evaluate --label), or the same "
            "model and temperature with different seeds, to be taken as samples of the same problems"
        )
    return Run((*run.files, *more.files), [*run.results, *more.results])
