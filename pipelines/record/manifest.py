"""What a run's folder says of itself: `manifest.json`, written when a run starts and again when it is complete.

It holds what decides the output (settings, inputs, code, prompts) and what came out. Knows no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pipelines.config import CurateConfig, fingerprint
from pipelines.inputs.filesystems import display_name
from pipelines.inputs.sources import Source
from pipelines.record.store import Store
from sprint import questions
from sprint.annotate import FOLD_LINES
from sprint.dialogue import DialogueOptions
from sprint.errors import InputError
from sprint.provenance import code

NAME = "manifest.json"


class State(StrEnum):
    """How far a run has come."""

    RUNNING = "running"  # or killed: --resume goes on
    COMPLETE = "complete"


def new(
    config: CurateConfig, inputs: Sequence[Source], evaluation_sets: Sequence[Source], told: DialogueOptions
) -> dict[str, Any]:
    """The manifest of a run that starts now. Its hash names the run by everything that decides what comes out."""
    decides = {
        "settings": config.essence(),
        "annotator": _annotator(config, told),
        "inputs": [_source(source) for source in inputs],
        "evaluation_sets": [_source(source) for source in evaluation_sets],
    }
    about = {"state": str(State.RUNNING), "hash": fingerprint(decides), "started": now()}
    asked = {"base_url": config.endpoint.base_url} if config.endpoint else {}  # one model may move
    return about | decides | asked | {"code": code("sprint", "pipelines")}


def _source(source: Source) -> dict[str, Any]:
    return {"uri": display_name(source.uri), "bytes": source.size, "fingerprint": source.fingerprint}


def _annotator(config: CurateConfig, told: DialogueOptions) -> dict[str, Any]:
    """Who annotates, with what prompts and how asked."""
    about: dict[str, Any] = {"name": config.annotator}
    if config.endpoint:
        about |= {"model": config.endpoint.model}
    if config.engine:
        about |= {"model": config.engine.model}
    if config.recorded:
        of = Store(config.recorded)
        about |= {"replies_of": of.name, "replies_hash": load(of)["hash"]}
    return about | ({"prompts": questions.prompts_hash(), "dialogue": asdict(told)} if config.uses_model else {})


def dialogue_of(store: Store) -> DialogueOptions:
    """How the model of a run was asked. Raises InputError for a run without a model."""
    found = load(store)["annotator"].get("dialogue")
    if found is None:
        raise InputError(f"{store.name} was annotated without a model, so it holds no replies", field="recorded")
    return DialogueOptions(**found)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def load(store: Store) -> dict[str, Any]:
    """The manifest in a folder. Raises InputError when there is none."""
    if not store.exists(NAME):
        raise InputError(f"{store.name} is not a curation run (no {NAME})")
    return store.read_json(NAME)


def load_if_any(store: Store) -> dict[str, Any]:
    """The manifest in a folder, or an empty one."""
    return store.read_json(NAME) if store.exists(NAME) else {}


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], place: str) -> None:
    """Raises InputError when a run cannot be gone on with, since something that decides its output has changed."""
    if found["hash"] == wanted["hash"]:
        return
    for name in {*found["settings"], *wanted["settings"]}:
        before, after = (values["settings"].get(name) for values in (found, wanted))
        if before != after:
            raise InputError(
                f"{place} was started with {name} {before!r}, not {after!r}: it cannot be resumed", field=name
            )
    for name, what in (
        ("inputs", "inputs"),
        ("evaluation_sets", "evaluation sets"),
        ("annotator", "annotator's prompts"),
    ):
        if found.get(name) != wanted.get(name):
            raise InputError(f"the {what} have changed since {place} was started: it cannot be resumed", field=name)
    raise InputError(f"{place} was started by a version that cannot be gone on with")


def with_code(found: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the code that goes on with the run; what it was begun with is kept as `earlier_code`."""
    current = code("sprint", "pipelines")
    if found["code"] == current:
        return dict(found)
    return dict(found) | {"code": current, "earlier_code": [*found.get("earlier_code", []), found["code"]]}


# --- what a manifest says, also one that an older version wrote -------------------------------------------------------


def fold_lines(manifest: Mapping[str, Any]) -> int:
    """The folding that the run was packed with."""
    settings = manifest.get("settings")
    found = settings.get("fold_lines") if isinstance(settings, Mapping) else None
    return found if isinstance(found, int) else FOLD_LINES


def annotator(manifest: Mapping[str, Any]) -> str:
    """Who annotated, in a few words; empty where the manifest does not say."""
    about = manifest.get("annotator")
    if not isinstance(about, Mapping):
        return ""
    return " ".join(str(about[name]) for name in ("name", "model") if about.get(name))
