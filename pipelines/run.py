"""Curation at scale: Ray Data reads shards of traces and curates them; the driver alone writes, as the rows stream by.

A run has a folder: its manifest, the record of every row (`pipelines.record`), and the sets and pages made from the
record in the end. What is in the record is done, so a killed run goes on where it stopped. The result does not depend
on how many machines took part, nor on how often it was killed. Knows the order of things; each is done elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import batch, before, dataset
from pipelines.budget import Budget, Stopped
from pipelines.config import CurateConfig
from pipelines.finish import finish
from pipelines.inputs.sources import Shard
from pipelines.progress import Progress, tell
from pipelines.record import checkpoint, manifest
from pipelines.record import replies as reply_store
from pipelines.record.checkpoint import Checkpoint
from pipelines.record.replies import Index
from pipelines.record.store import Store
from pipelines.scan import Places, Scan, scan
from pipelines.stream import curated, failures, kept_in
from pipelines.views.summary import CurationSummary
from pipelines.worker import Job, Settings
from sprint.errors import InputError
from sprint.local_ray import ray_session
from sprint.nodes import await_room
from sprint.rows import MAX_PARTS

__all__ = ["Stopped", "curate"]


def curate(config: CurateConfig) -> CurationSummary:
    """Curates the inputs into the run folder, prints the counts and returns them.

    Raises InputError, and leaves nothing behind, for inputs that are missing, empty or unreadable and for a folder in
    use. Raises Stopped, leaving a run that can be resumed, when the calls cost too much or fail too often.
    """
    began = time.monotonic()
    ready = before.prepared(config)
    num_cpus = batch.num_cpus(config.num_cpus) if config.annotator == "vllm" else config.num_cpus
    with ray_session(num_cpus), dataset.on_nodes(config.nodes):
        await_room(config.nodes, {"CPU": config.cpus_per_task}, "curation tasks", tell)
        scanned = scan(ready.shards, config.columns, config.cpus_per_task)
        if scanned.num_unreadable == len(scanned):
            message = f"none of the {len(scanned)} rows is readable; the first: {scanned.first_error}"
            raise InputError(message, field="inputs")
        run = _Run(config, ready.store, ready.shards, scanned, ready.settings)
        run.begin(dict(ready.about) | {"num_rows": len(scanned)})
        try:
            run.annotate()
        except KeyboardInterrupt:
            print(f"what is done is kept in {ready.store.name}: go on with --resume", flush=True)
            raise
    return finish(config, ready.store, scanned, time.monotonic() - began)


@dataclass
class _Run:
    """One run while Ray is up. `done` and `cost`: positions in the record, and what they cost, when it began."""

    config: CurateConfig
    store: Store
    shards: Sequence[Shard]
    scanned: Scan
    settings: Settings
    done: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64), init=False)
    cost: float = field(default=0.0, init=False)

    def begin(self, about: dict[str, Any]) -> None:
        """Checks what only can be checked with Ray or over the network, then marks the folder as this run's."""
        if self.config.endpoint:
            asyncio.run(before.check_endpoint(self.config.endpoint))
        if self.config.engine:
            batch.check(self.config.engine, self.config.engine.nodes or self.config.nodes, tell)
        if self.config.resume and self.store.exists(manifest.NAME):
            about = manifest.with_code(manifest.load(self.store))
        else:
            self.store.clear(manifest.NAME)
        if self.config.retry_failed:
            about = self._forget_failed(about)
        self.store.write_json(manifest.NAME, about)

    def _forget_failed(self, about: dict[str, Any]) -> dict[str, Any]:
        """Takes failed rows out of the record, so that they are asked about again; what they cost is kept in mind."""
        reply_store.forget_failed(self.store)
        count, cost = checkpoint.forget_failed(self.store)
        print(f"{count} rows whose requests had failed are asked about again", flush=True)
        earlier = about.get("retried", {"rows": 0, "cost": 0.0})
        return about | {"retried": {"rows": earlier["rows"] + count, "cost": earlier["cost"] + cost}}

    def annotate(self) -> None:
        """Brings the record to where every row stands in it."""
        self.done, self.cost = checkpoint.done(self.store)
        place = self.config.recorded or self.store.place
        self.settings = replace(self.settings, replies_from=place, replays=bool(self.config.recorded))
        if self.config.engine:
            every_s = self.config.checkpoint_s
            batch.ask_all(lambda: self._replayed(place), self.settings, self.config.engine, self.store, every_s, tell)
        jobs = self._replayed(place) if self.config.annotator in ("vllm", "recorded") else self._jobs(None)
        self._stream(jobs)

    def _stream(self, jobs: Sequence[Job]) -> None:
        budget = Budget(self.config, self.cost + manifest.load(self.store).get("retried", {"cost": 0.0})["cost"])
        checkpoints = Checkpoint(self.store, self.config.checkpoint_s)
        with Progress("curating", len(self.scanned), len(self.done)) as progress, checkpoints:
            for wave in budget.waves(jobs):
                for table in curated(wave, self.config, self.settings):
                    checkpoints.add(table)
                    spent = float(table.column("cost").to_numpy().sum())
                    progress.add(len(table), kept_in(table), spent)
                    budget.spend(spent, len(table))
                    if self.config.annotator == "openai":
                        budget.check_failures(failures(table))

    def _replayed(self, place: str) -> list[Job]:
        """What is left to do, with the replies that are known for it."""
        jobs = self._jobs(Index(Store(place)))
        if self.config.recorded and jobs and not any(job.replies for job in jobs):
            raise InputError(f"{Store(place).name} holds no replies about any of these traces", field="recorded")
        return jobs

    def _jobs(self, index: Index | None) -> list[Job]:
        """What is left to do."""
        return list(_jobs(self.shards, self.scanned, self.done, index))


def _jobs(shards: Sequence[Shard], scanned: Scan, done: Any, index: Index | None) -> Iterator[Job]:
    duplicates, copies, places = scanned.duplicates(), frozenset(scanned.copies()), Places(shards)
    for shard in shards:
        ends = [shard.start * MAX_PARTS, (shard.start + shard.num_rows) * MAX_PARTS]
        low, high = np.searchsorted(scanned.positions, ends)
        mine = [int(position) for position in scanned.positions[low:high]]
        skip = done[slice(*np.searchsorted(done, ends))]
        if len(skip) == len(mine):
            continue
        repeated = {position: places[duplicates[position]] for position in mine if position in duplicates}
        replies = index.parts(scanned.digests[low:high]) if index else ()
        yield Job(shard, frozenset(map(int, skip)), repeated, copies & set(mine), replies)
