"""Curation at scale: Ray Data reads shards of traces and curates them; the driver alone writes, as the rows stream by.

A run has a folder: its manifest, the record of every row (`pipelines.record`), and the sets and pages made from the
record in the end. What is in the record is done, so a killed run goes on where it stopped. The result does not depend
on how many machines took part, nor on how often it was killed. Knows the order of things; each is done elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from pipelines import batch
from pipelines.config import CurateConfig
from pipelines.endpoint.config import EndpointConfig
from pipelines.finish import finish
from pipelines.inputs import sources
from pipelines.inputs.filesystems import parse
from pipelines.inputs.sources import Shard
from pipelines.progress import Progress
from pipelines.record import checkpoint, manifest
from pipelines.record import replies as reply_store
from pipelines.record.checkpoint import Checkpoint
from pipelines.record.manifest import State
from pipelines.record.replies import Index
from pipelines.record.store import Store
from pipelines.scan import Places, Scan, scan
from pipelines.stream import curated, failures, kept_in
from pipelines.views.summary import CurationSummary
from pipelines.worker import Job, Settings
from sprint.contamination import Contamination
from sprint.dialogue import DialogueOptions
from sprint.errors import InputError, SprintError
from sprint.local_ray import ray_session
from sprint.rows import MAX_PARTS, has_column


class Stopped(SprintError):
    """The run was stopped on purpose, and can be resumed; the message says why and how."""


def curate(config: CurateConfig) -> CurationSummary:
    """Curates the inputs into the run folder, prints the counts and returns them.

    Raises InputError, and leaves nothing behind, for inputs that are missing, empty or unreadable and for a folder in
    use. Raises Stopped, leaving a run that can be resumed, when the calls cost
    too much or fail too often.
    """
    began = time.monotonic()
    inputs = sources.find(config.inputs)
    shards = sources.shards(inputs, config.task_rows, config.limit)
    _check_columns(shards, config.columns)
    settings = _settings(config)
    about = manifest.new(config, inputs, settings.dialogue)
    store = Store(config.out or f"runs/curate-{about['hash'][:8]}")
    _check_target(store, config, about, [source.uri for source in inputs])
    with ray_session(batch.num_cpus(config.num_cpus) if config.annotator == "vllm" else config.num_cpus):
        scanned = scan(shards, config.columns, config.cpus_per_task)
        if scanned.num_unreadable == len(scanned):
            message = f"none of the {len(scanned)} rows is readable; the first: {scanned.first_error}"
            raise InputError(message, field="inputs")
        run = _Run(config, store, shards, scanned, settings)
        run.prepare(about | {"num_rows": len(scanned)})
        run.annotate()
    return finish(config, store, scanned, time.monotonic() - began)


@dataclass
class _Run:
    """One run while Ray is up."""

    config: CurateConfig
    store: Store
    shards: Sequence[Shard]
    scanned: Scan
    settings: Settings

    def prepare(self, about: Mapping[str, Any]) -> None:
        """Checks what can be checked before anything is paid for, then marks the folder as this run's."""
        if self.config.endpoint:
            asyncio.run(_check_endpoint(self.config.endpoint))
        if self.config.engine:
            batch.check(self.config.engine)
        if not self.config.resume:
            self.store.remove("")
        if not self.store.exists(manifest.NAME):
            self.store.write_json(manifest.NAME, about)
        if self.config.retry_failed:
            reply_store.forget_failed(self.store)
            count = checkpoint.forget_failed(self.store)
            print(f"{count} rows whose requests had failed are asked about again", flush=True)

    def annotate(self) -> None:
        """Brings the record to where every row stands in it."""
        source = self.config.recorded or self.store.place
        self.settings = replace(self.settings, replies_from=source)
        if self.config.engine:
            every_s = self.config.checkpoint_s
            batch.ask_all(lambda: self.jobs(source), self.settings, self.config.engine, self.store, every_s, _tell)
        replayed = source if self.config.annotator in ("vllm", "recorded") else ""
        self._stream(self.jobs(replayed))

    def _stream(self, jobs: Sequence[Job]) -> None:
        done, cost = checkpoint.done(self.store)
        checkpoints = Checkpoint(self.store, self.config.checkpoint_s)
        guard = _Guard(self.config, cost)
        with Progress("curating", len(self.scanned), len(done)) as progress, checkpoints:
            for table in curated(jobs, self.config, self.settings):
                checkpoints.add(table)
                spent = float(table.column("cost").to_numpy().sum())
                progress.add(len(table), kept_in(table), spent)
                guard.check(table, spent)

    def jobs(self, replies_from: str = "") -> list[Job]:
        """What is left to do, with the replies that are known for it."""
        done, _ = checkpoint.done(self.store)
        index = Index(Store(replies_from)) if replies_from else None
        if index is not None and self.config.recorded and not len(index):
            raise InputError(f"{self.config.recorded} holds no replies to replay", field="recorded")
        return list(_jobs(self.shards, self.scanned, done, index))


@dataclass
class _Guard:
    """Stops a run, which can be resumed, before it costs more than it may or when nothing is answered any more."""

    config: CurateConfig
    cost: float
    failed: int = 0

    def check(self, table: Any, spent: float) -> None:
        """Raises Stopped; `spent` is what the rows of the table cost."""
        self.cost += spent
        limit = self.config.max_cost
        if limit is not None and self.cost >= limit:
            message = f"the calls have cost {self.cost:.2f} of at most {limit:g}"
            raise Stopped(f"{message}: go on with --resume and a higher --max-cost")
        if self.config.annotator == "openai":
            self._check_failures(failures(table))

    def _check_failures(self, found: Sequence[str]) -> None:
        for detail in found:
            self.failed = self.failed + 1 if detail else 0
            if self.failed >= self.config.max_failed_in_a_row:
                message = f"the requests of {self.failed} rows in a row have failed, the last since {detail}"
                raise Stopped(f"{message}: go on with --resume --retry-failed when the endpoint works again")


def _jobs(shards: Sequence[Shard], scanned: Scan, done: Any, index: Index | None) -> Iterator[Job]:
    duplicates, copies, places = scanned.duplicates(), scanned.copies(), Places(shards)
    for shard in shards:
        ends = [shard.start * MAX_PARTS, (shard.start + shard.num_rows) * MAX_PARTS]
        low, high = np.searchsorted(scanned.positions, ends)
        mine = scanned.positions[low:high]
        skip = done[slice(*np.searchsorted(done, ends))]
        if len(skip) == len(mine):
            continue
        repeated = {p: places[duplicates[p]] for p in map(int, mine) if p in duplicates}
        renamed = {p: copies[p] for p in map(int, mine) if p in copies}
        replies = index.parts(scanned.digests[low:high]) if index else ()
        yield Job(shard, frozenset(map(int, skip)), repeated, renamed, replies)


# --- before the run --------------------------------------------------------------------------------------------------


async def _check_endpoint(config: EndpointConfig) -> None:
    from pipelines.endpoint.client import Endpoint

    endpoint = Endpoint(config)
    try:
        await endpoint.check()
    finally:
        await endpoint.close()


def _settings(config: CurateConfig) -> Settings:
    told = manifest.dialogue_of(Store(config.recorded)) if config.recorded else _told(config)
    return Settings(config.options, told, config.prices.prices, config.tokenizer, _contamination(config))


def _told(config: CurateConfig) -> DialogueOptions:
    structured = (
        config.endpoint.structured != "off" if config.endpoint else bool(config.engine and config.engine.structured)
    )
    return DialogueOptions(
        structured=structured,
        repair=config.repair,
        min_coverage=config.min_coverage,
        fold_lines=config.fold_lines,
        thinking_tokens=config.thinking_tokens,
    )


def _contamination(config: CurateConfig) -> Contamination | None:
    if not config.contamination:
        return None
    found = sources.shards(sources.find(config.contamination), 1000)
    rows = (raw for shard in found for raw in sources.read(shard) if not raw.error)
    return Contamination.of(((raw.where, _question(raw.value, raw.where)) for raw in rows), config.contamination_ngram)


def _question(row: Mapping[str, Any], at: str) -> str:
    for name in ("question", "problem", "Question", "prompt"):
        if isinstance(row.get(name), str):
            return str(row[name])
    raise InputError(f"{at} has no column question or problem", field="contamination")


def _check_target(store: Store, config: CurateConfig, about: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Raises InputError when the folder cannot be this run's."""
    if store.is_file():
        raise InputError(f"{store.name} exists and is not a folder", field="out")
    if any(parse(uri).path.startswith(f"{store.path()}/") for uri in inputs):
        raise InputError(f"{store.name} holds input files; choose another output folder", field="out")
    if not store.names():
        if config.resume:
            raise InputError(f"{store.name} holds no run to resume", field="resume")
        return
    if not store.exists(manifest.NAME):
        raise InputError(f"{store.name} is not empty and not a curation run (no {manifest.NAME})", field="out")
    found = manifest.load(store)
    if config.resume:
        manifest.check_same(found, about, store.name)
    elif not config.overwrite:
        state = "a finished run" if found["state"] == State.COMPLETE else "an unfinished run: go on with resume,"
        raise InputError(f"{store.name} holds {state} or pass overwrite or another out", field="out")


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


def _tell(sentence: str) -> None:
    print(sentence, flush=True)
