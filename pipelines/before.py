"""What is settled before a run does any work: its inputs, its place, its settings, and everything that can be refused.

All that a person can mend is found here, before Ray is started, a call is paid for or a file is written. Knows
configuration and files, not how rows are curated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipelines.config import CurateConfig
from pipelines.endpoint.config import EndpointConfig
from pipelines.inputs import sources
from pipelines.inputs.filesystems import parse
from pipelines.inputs.sources import Shard, Source
from pipelines.record import manifest
from pipelines.record.manifest import State
from pipelines.record.store import Store
from pipelines.worker import Settings, counter
from sprint.contamination import Contamination
from sprint.dialogue import DialogueOptions
from sprint.errors import InputError
from sprint.rows import ALIASES, has_column, value_at


@dataclass(frozen=True)
class Prepared:
    """A run that may begin. `about` is its manifest."""

    store: Store
    shards: Sequence[Shard]
    settings: Settings
    about: Mapping[str, Any]


def prepared(config: CurateConfig) -> Prepared:
    """Raises InputError for whatever makes the run impossible, and leaves nothing behind."""
    inputs = sources.find(config.inputs)
    evaluation_sets = sources.find(config.contamination) if config.contamination else []
    shards = sources.shards(inputs, config.task_rows, config.limit)
    _check_columns(shards, config.columns)
    settings = _settings(config, evaluation_sets)
    about = manifest.new(config, inputs, evaluation_sets, settings.dialogue)
    store = Store(config.out or f"runs/curate-{about['hash'][:8]}")
    _check_target(store, config, about, [source.uri for source in inputs])
    counter(config.tokenizer)
    if config.compare_with:
        manifest.load(Store(config.compare_with))
    return Prepared(store, shards, settings, about)


async def check_endpoint(config: EndpointConfig) -> None:
    """Asks the endpoint something small. Raises EndpointRefused when it cannot work."""
    from pipelines.endpoint.client import Endpoint

    endpoint = Endpoint(config)
    try:
        await endpoint.check()
    finally:
        await endpoint.close()


def _settings(config: CurateConfig, evaluation_sets: Sequence[Source]) -> Settings:
    told = manifest.dialogue_of(Store(config.recorded)) if config.recorded else _told(config)
    contamination = _contamination(evaluation_sets, config.contamination_ngram)
    return Settings(config.options, told, config.prices.prices, config.tokenizer, contamination)


def _told(config: CurateConfig) -> DialogueOptions:
    asks_json = config.endpoint.structured != "off" if config.endpoint else False
    return DialogueOptions(
        structured=asks_json or bool(config.engine and config.engine.structured),
        repair=config.repair,
        min_coverage=config.min_coverage,
        fold_lines=config.fold_lines,
        thinking_tokens=config.thinking_tokens,
    )


def _contamination(evaluation_sets: Sequence[Source], n: int) -> Contamination | None:
    if not evaluation_sets:
        return None
    rows = (raw for shard in sources.shards(evaluation_sets, 1000) for raw in sources.read(shard) if not raw.error)
    return Contamination.of(((raw.where, _question(raw.value, raw.where)) for raw in rows), n)


def _question(row: Mapping[str, Any], at: str) -> str:
    columns = (*ALIASES["question"], "Question", "prompt")
    found = next((value for column in columns if isinstance(value := value_at(row, column), str)), None)
    if found is None:
        raise InputError(f"{at} has no column {' or '.join(columns)}", field="contamination")
    return found


def _check_target(store: Store, config: CurateConfig, about: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Raises InputError when the folder cannot be this run's."""
    if store.is_file():
        raise InputError(f"{store.name} exists and is not a folder", field="out")
    if any(parse(uri).path.startswith(f"{store.path()}/") for uri in inputs):
        raise InputError(f"{store.name} holds input files; choose another output folder", field="out")
    if not [name for name in store.names() if name != f"{manifest.NAME}.part"]:  # half a manifest is none
        if config.resume:  # a job that is tried again may have failed before it had begun
            print(f"{store.name} holds no run to go on with: it begins anew", flush=True)
        return
    if not store.exists(manifest.NAME):
        raise InputError(f"{store.name} is not empty and not a curation run (no {manifest.NAME})", field="out")
    found = manifest.load(store)
    if config.resume:
        manifest.check_same(found, about, store.name)
    elif not config.overwrite:
        is_complete = found["state"] == State.COMPLETE
        held = "a finished run" if is_complete else "an unfinished run: go on with --resume, or"
        raise InputError(f"{store.name} holds {held}{':' if is_complete else ''} pass --overwrite or another --out")


def _check_columns(shards: Sequence[Shard], columns: Mapping[str, str]) -> None:
    """Raises InputError for a column option that names a column none of the first rows has."""
    if not columns:
        return
    some = (raw.value for shard in shards[:: max(1, len(shards) // 8)] for raw in islice(sources.read(shard), 20))
    first = list(some)
    for name, column in columns.items():
        if not any(has_column(row, column) for row in first):
            listed = ", ".join(sorted({key for row in first for key in row})) or "none"
            raise InputError(f"no column {column!r} for {name!r} in the inputs; found: {listed}", field="columns")
