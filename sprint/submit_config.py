"""What `sprint submit` can be told: a command, and how it becomes a job on a cluster. Knows no Ray."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from sprint.config import Nodes, StrictModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SubmitConfig(StrictModel):
    """One job. `words` are a command of this program and its options, which are the command's own."""

    words: tuple[str, ...] = Field(
        min_length=1, description="curate, train, evaluate, … and its options; those of submit stand before it"
    )
    name: str = Field("", description="of the job; used again after a failure, the job goes on (default: COMMAND-DATE)")
    address: str = Field(
        "", description="the dashboard (default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS, or http://127.0.0.1:8265)"
    )
    no_wait: bool = Field(False, description="do not follow the job's log to its end")
    print: bool = Field(False, description="only print the `ray job submit` line, and reach for no cluster")
    working_dir: str = Field(
        "auto", description="folder to upload for the job; none; auto: a checkout of this project that one stands in"
    )
    env: tuple[str, ...] = Field((), description="variable of this environment that the job gets; give once for each")
    driver_nodes: Nodes = Field(default_factory=dict, description="labels of the nodes the job itself may start on")
    driver_cpus: float = Field(
        0.0, ge=0, description="CPUs the job itself claims; with 0 and no labels it is the head's"
    )
    python: str = Field("python", description="the interpreter on the cluster that has this package")

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if name and not _NAME.fullmatch(name):
            raise ValueError("expected letters, digits, '.', '_' and '-'")
        return name

    @field_validator("env")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _VARIABLE.fullmatch(name):
                raise ValueError("expected the name of a variable alone: its value is read from this environment")
        return names
