"""`sprint submit`: a command of this program as a job on a Ray cluster, checked here before it is sent there.

Everything after the command's name is passed on as it stands. It is read first with the command's own options, so that
a slip of the pen fails on the laptop and not an hour later in a queue. It knows commands and the line that
`ray job submit` takes; `sprint.jobs` talks to the cluster.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sprint.commandline import Command, command_of
from sprint.config import load_config
from sprint.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sprint.submit_config import SubmitConfig

_JOBS = ("curate", "train", "evaluate", "generate", "prepare", "import", "report", "curate compare", "curate inspect")
_ELSEWHERE = {"serve": "a service is no job, deploy it with `serve deploy`", "ask": "questions are asked from here"}
_DEFAULT_ADDRESS = "http://127.0.0.1:8265"


@dataclass(frozen=True)
class Stage:
    """A command with its options. `resumes`: whether it can be told to go on with what it has begun."""

    name: str
    words: tuple[str, ...]
    resumes: bool


@dataclass(frozen=True)
class JobSpec:
    """A job to be sent. `env` holds the values of variables, which are never printed."""

    id: str
    address: str
    entrypoint: tuple[str, ...]
    working_dir: str
    env: Mapping[str, str]
    driver_nodes: Mapping[str, str]
    driver_cpus: float

    def resumed(self, number: int) -> JobSpec:
        """The same job, tried for the `number`th time: it goes on where the last try stopped."""
        return replace(self, id=attempt_id(self.id, number), entrypoint=(*self.entrypoint, "--resume"))

    def line(self, *, wait: bool = True) -> str:
        """The command line that sends it, to be copied into a shell; variables stand in it by name only."""
        words = ["ray", "job", "submit", "--address", self.address, "--submission-id", self.id]
        words += ["--working-dir", self.working_dir] if self.working_dir else []
        words += ["--entrypoint-label-selector", json.dumps(dict(self.driver_nodes))] if self.driver_nodes else []
        words += ["--entrypoint-num-cpus", f"{self.driver_cpus:g}"] if self.driver_cpus else []
        words += [] if wait else ["--no-wait"]
        parts = [*_over_environment(self.address), shlex.join(words)]
        parts += [f"--runtime-env-json {_environment_json(self.env)}"] if self.env else []
        return " ".join([*parts, "--", shlex.join(self.entrypoint)])


def attempt_id(name: str, number: int) -> str:
    """The id of a job's first, second … try."""
    return name if number == 1 else f"{name}.{number}"


def attempt_of(id: str | None, name: str) -> int:
    """Which try of the job `name` has this id; 0: it is another job's."""
    found = re.fullmatch(rf"{re.escape(name)}(?:\.(\d+))?", id or "")
    return int(found[1] or 1) if found else 0


def _over_environment(address: str) -> list[str]:
    """Ray takes an address of the environment before the option's."""
    given = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    return [f"RAY_API_SERVER_ADDRESS={shlex.quote(address)}"] if given not in (None, address) else []


def _environment_json(env: Mapping[str, str]) -> str:
    """The runtime environment for a shell that puts the values in."""
    values = ", ".join(f'"{name}": "\'"${name}"\'"' for name in env)
    return f"'{{\"env_vars\": {{{values}}}}}'"


def submit(config: SubmitConfig) -> None:
    """Checks, prints and sends a job, and follows it to its end; raises typer's Exit with the job's exit code.

    Raises ConfigError before anything is sent, SprintError for a cluster that cannot be reached or refuses.
    """
    stage = checked_stage(config.words)
    spec = spec_of(config, stage)
    if config.print:
        print(spec.line(wait=not config.no_wait))
        return
    from sprint.jobs import Jobs

    jobs = Jobs(spec.address)
    number = jobs.next_attempt(spec.id)
    if number > 1:
        spec = spec.resumed(number) if stage.resumes else replace(spec, id=attempt_id(spec.id, number))
    print(spec.line(wait=not config.no_wait), file=sys.stderr, flush=True)
    jobs.send(spec)
    if config.no_wait:
        print(jobs.how_to_follow(spec.id), file=sys.stderr)
        return
    from typer import Exit

    raise Exit(jobs.follow(spec.id))


def spec_of(config: SubmitConfig, stage: Stage) -> JobSpec:
    """The job that a command makes. Raises ConfigError for a variable that is not set or a folder that is not there."""
    given = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    name = config.name or f"{stage.name.replace(' ', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    entrypoint = (config.python, "-m", "sprint.cli", *stage.name.split(), *stage.words)
    return JobSpec(
        name,
        config.address or given or _DEFAULT_ADDRESS,
        entrypoint,
        _working_dir(config.working_dir),
        _values(config.env),
        config.driver_nodes,
        config.driver_cpus,
    )


def _values(names: Sequence[str]) -> dict[str, str]:
    missing = next((name for name in names if name not in os.environ), None)
    if missing:
        raise ConfigError(f"env: {missing} is not set here, expected a variable of this environment", field="env")
    return {name: os.environ[name] for name in names}


def _working_dir(given: str) -> str:
    if given == "auto":
        return "." if Path("sprint/cli.py").is_file() and Path("pyproject.toml").is_file() else ""
    if given in ("", "none"):
        return ""
    if "://" not in given and not Path(given).is_dir():
        raise ConfigError(f"working_dir: {given} is no folder", field="working_dir")
    return given


# --- the command -----------------------------------------------------------------------------------------------------


def checked_stage(words: Sequence[str]) -> Stage:
    """The command in `words`, when it would run. Raises ConfigError or typer's errors when it would not."""
    from sprint.cli import COMMANDS

    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    if name not in _JOBS:
        why = _ELSEWHERE.get(name, f"expected one of: {', '.join(_JOBS)}")
        raise ConfigError(f"submit: {name!r} cannot be a job: {why}", field="words")
    rest = tuple(words[len(name.split()) :])
    config = _read(name, COMMANDS[name], rest)
    if config is not None:
        _check_places(config)
        if getattr(config, "resume", False):
            return Stage(name, rest, resumes=False)
    return Stage(name, rest, "resume" in COMMANDS[name].config().model_fields)


def _read(name: str, command: Command, words: Sequence[str]) -> Any:
    """The config that the command would run with; None when its configuration file is on the cluster only.

    Raises what running it would raise before it begins; asking for its help prints that and ends.
    """
    import typer
    from typer.exceptions import TyperException

    found: list[Any] = []
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command(name)(command_of(command.config(), found.append, command.about, command.arguments, _load_if_here))
    try:
        code = app([name, *words], prog_name="sprint", standalone_mode=False)
    except TyperException as error:
        said = f"{name}: {error.format_message().strip().rstrip('.')} (see sprint {name} --help"
        raise ConfigError(f"{said}; options of submit stand before {name})", field="words") from None
    if not found:
        raise typer.Exit(code or 0)
    return found[0]


def _load_if_here(model: type[BaseModel], path: Path | None, values: Mapping[str, Any]) -> BaseModel | None:
    """Where the file is not here, only the options' names have been checked."""
    return None if path and not path.exists() else load_config(model, path, values)


def _check_places(config: Any) -> None:
    """What a job writes must outlive it. Raises ConfigError for a place that ends with the job."""
    for name in ("out", "export"):
        if not hasattr(config, name) or (place := getattr(config, name)) is None:
            continue
        if not (str(place).startswith("/") or "://" in str(place)):
            said = f"{str(place)!r}, which on the cluster would end with the job" if str(place) else "not given"
            raise ConfigError(
                f"{name} is {said}: expected an absolute path on storage that all nodes share, or a URI", field=name
            )
