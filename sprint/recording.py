"""A rollout kept as its events, one JSON line each, and read back: to be shown again, or to be looked into.

    write(path, events)         # while or after it runs
    for event in read(path)     # the same events
    text_of(read(path))         # what the model and the runtime wrote

It knows events and records, not who draws them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sprint.errors import InputError
from sprint.events import Delta, Discarded, Event, Finished, Part, PlanEnded, RoundJoined
from sprint.files import read_jsonl, write_jsonl
from sprint.tags import THINK_CLOSE, THINK_OPEN
from sprint.types import (
    Execution,
    ExecutionOutcome,
    Failure,
    PlanOutcome,
    Rollout,
    Round,
    StopReason,
    TimelineSpan,
    Trajectory,
)
from sprint.usage import Usage

_KINDS = {kind.kind: kind for kind in Event.__subclasses__()}
_ENUMS = {"part": Part}


def to_line(event: Event) -> dict[str, Any]:
    """An event as JSON values from which `from_line` makes it again."""
    return {"kind": event.kind} | asdict(event)


def from_line(line: Mapping[str, Any]) -> Event:
    """The inverse of `to_line`. Raises InputError for what is no event."""
    values = {key: value for key, value in line.items() if key != "kind"}
    kind = _KINDS.get(str(line.get("kind")))
    if kind is None or {field.name for field in fields(kind)} != set(values):
        raise InputError(f"no event of a rollout: {json.dumps(line, ensure_ascii=False)[:80]}")
    try:
        return kind(**_typed(kind, values))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"an event {kind.kind} that cannot be read: {error}") from None


def _typed(kind: type[Event], values: dict[str, Any]) -> dict[str, Any]:
    if kind is Finished:
        return {"rollout": rollout_from(values["rollout"])}
    enums = _ENUMS | {"outcome": PlanOutcome if kind is PlanEnded else ExecutionOutcome}
    return {key: enums[key](value) if key in enums else value for key, value in values.items()}


def write(path: Path, events: Iterable[Event]) -> None:
    """Keeps the events of a rollout."""
    write_jsonl(path, map(to_line, events))


def read(path: Path) -> Iterator[Event]:
    """The events that were kept. Raises InputError naming the file for what are none."""
    return map(from_line, read_jsonl(path))


def text_of(events: Iterable[Event]) -> str:
    """The rollout's text, put together from what happened: equal to `Rollout.text`."""
    parts: list[str] = []
    reason: StopReason | None = None
    for event in events:
        if isinstance(event, Discarded) and event.round == 0:
            parts.clear()
        elif isinstance(event, PlanEnded | RoundJoined) or (isinstance(event, Delta) and event.part is Part.SEQUENTIAL):
            parts.append(event.text)
        elif isinstance(event, Finished):
            reason = event.rollout.stop_reason if event.rollout.trajectory else None
    return THINK_OPEN + "".join(parts) + (THINK_CLOSE if reason is StopReason.ANSWERED else "")


def rollout_from(values: Mapping[str, Any]) -> Rollout:
    """A rollout from its fields as JSON values."""
    made = dict(values)
    made["usage"] = Usage.from_dict(values["usage"])
    made["stop_reason"] = StopReason(values["stop_reason"])
    made["failure"] = Failure(values["failure"]) if values.get("failure") else None
    made["timeline"] = tuple(TimelineSpan(**span) for span in values["timeline"])
    made["trajectory"] = _trajectory(values["trajectory"]) if values["trajectory"] else None
    for name in ("prompt_ids", "token_ids"):
        made[name] = tuple(values[name])
    return Rollout(**made)


def _trajectory(values: Mapping[str, Any]) -> Trajectory:
    rounds = tuple(Round(item["plan"], tuple(map(_execution, item["executions"]))) for item in values["rounds"])
    return Trajectory(rounds, values["final_answer"])


def _execution(values: Mapping[str, Any]) -> Execution:
    return Execution(values["text"], ExecutionOutcome(values["outcome"]))
