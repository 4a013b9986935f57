"""What a worker does with its share of the rows: read, prepare, annotate, judge.

One job is one shard of the inputs with what the first pass found out about its rows. The functions and classes that
Ray Data calls stand at the end; each takes a table of jobs and gives a table of the record. Knows annotators, but no
checkpoints and no output.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from pipelines.endpoint.client import Endpoint, EndpointRefused
from pipelines.endpoint.config import EndpointConfig
from pipelines.inputs import sources
from pipelines.inputs.sources import RawRow, Shard
from pipelines.record import replies as reply_store
from pipelines.record import rows as record
from pipelines.record.replies import Known
from pipelines.record.rows import Recorded
from sprint import curate, dialogue
from sprint.contamination import Contamination
from sprint.curate import Curated, CurationOptions, Prepared
from sprint.dialogue import DialogueOptions, Outcome, Pending, Unusable
from sprint.measure import Count
from sprint.requests import AnnotationUsage, Prices, Reply, Request
from sprint.rows import digest
from sprint.rules import RulesAnnotator
from sprint.types import DropReason

_ROWS_PER_ACTOR = 256  # requests that one process keeps in flight with ease


@dataclass(frozen=True, slots=True)
class Job:
    """A shard to curate.

    skip        positions that are done already
    duplicates  position of a row that repeats an earlier one -> where that one stands
    copies      positions of rows whose id is taken by another, different row
    replies     parts that hold replies to its traces, for annotators that replay them
    """

    shard: Shard
    skip: frozenset[int] = frozenset()
    duplicates: Mapping[int, str] = field(default_factory=dict)
    copies: frozenset[int] = frozenset()
    replies: tuple[str, ...] = ()

    def dumps(self) -> str:
        pairs = {"duplicates": list(self.duplicates.items()), "copies": sorted(self.copies)}
        return json.dumps(pairs | {"shard": asdict(self.shard), "skip": sorted(self.skip), "replies": self.replies})

    @staticmethod
    def loads(text: str) -> Job:
        values = json.loads(text)
        duplicates, copies = dict(values["duplicates"]), frozenset(values["copies"])
        skip, replies = frozenset(values["skip"]), tuple(values["replies"])
        return Job(Shard(**values["shard"]), skip, duplicates, copies, replies)


@dataclass(frozen=True, slots=True)
class Settings:
    """What workers are told. `replies_from` is the place of replies to replay, for annotators that do not ask.

    `replays`: those replies are another run's, which paid for them, so here they cost nothing.
    """

    options: CurationOptions
    dialogue: DialogueOptions = field(default_factory=DialogueOptions)
    prices: Prices = field(default_factory=Prices)
    tokenizer: str = ""
    contamination: Contamination | None = None
    replies_from: str = ""
    replays: bool = False


@lru_cache(maxsize=2)
def counter(tokenizer: str) -> Count:
    """A function from text to its length: in tokens of the tokenizer, or without one in characters."""
    if not tokenizer:
        return len
    from sprint.tokenizer import load_tokenizer

    encode = load_tokenizer(tokenizer).encode
    return lambda text: len(encode(text))


class Worker:
    """Turns rows into records, however they are annotated."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.count = counter(settings.tokenizer)

    def prepared(self, job: Job) -> Iterator[tuple[RawRow, Prepared | Curated]]:
        """The rows of a job that are not done, each as far as it gets without an annotation."""
        for raw in sources.read(job.shard):
            if raw.position not in job.skip:
                yield raw, self._prepare(raw, job)

    def _prepare(self, raw: RawRow, job: Job) -> Prepared | Curated:
        if raw.error:
            return curate.malformed("", raw.error)
        first = job.duplicates.get(raw.position)
        if first is not None:
            return curate.duplicate(raw.value, self.settings.options, first)
        row = curate.prepare(raw.value, self.settings.options, self.settings.contamination)
        if isinstance(row, Curated) and row.reason is DropReason.MALFORMED_ROW:
            row = replace(row, detail=f"{raw.where}: {row.detail}")
        return _renamed(row) if raw.position in job.copies else row

    def by_rules(self, raw: RawRow, row: Prepared | Curated) -> Recorded:
        """The record of a row, annotated by rules."""
        if isinstance(row, Prepared):
            row = curate.annotate_and_judge(row, RulesAnnotator(), self.settings.options, self.count)
        return Recorded(row, raw.position, raw.where)

    def by_outcome(self, raw: RawRow, prepared: Prepared, outcome: Outcome | Pending) -> Recorded:
        """The record of a row, given how the conversation about it ended."""
        if isinstance(outcome, Pending):
            outcome = Unusable(DropReason.REQUEST_FAILED, "no reply is recorded", outcome.exchanges, outcome.usage)
        cost = self.settings.prices.cost(outcome.usage)
        row = replace(self._judged(prepared, outcome), usage=outcome.usage)
        return Recorded(row, raw.position, raw.where, outcome.exchanges, cost)

    def _judged(self, prepared: Prepared, outcome: Outcome) -> Curated:
        """What becomes of a row. An annotation that breaks its judge costs this row, not the batch around it."""
        if isinstance(outcome, Unusable):
            return curate.unusable(prepared, outcome.reason, outcome.detail)
        try:
            return curate.judge(prepared, outcome.annotation, self.settings.options, self.count)
        except Exception as error:
            return curate.unusable(prepared, DropReason.ANNOTATION_FAILED, dialogue.failure(error))

    def with_replies(self, job: Job) -> Iterator[tuple[RawRow, Prepared | Curated, Known]]:
        """The rows of a job that are not done, each with the replies that are known for its trace."""
        rows = list(self.prepared(job))
        digests = [digest(row.trace) if isinstance(row, Prepared) else "" for _, row in rows]
        settings = self.settings
        found = reply_store.load(settings.replies_from, job.replies, filter(None, digests), paid=settings.replays)
        for (raw, row), name in zip(rows, digests, strict=True):
            yield raw, row, found.get(name, {})

    def by_replies(self, raw: RawRow, row: Prepared | Curated, known: Known) -> Recorded:
        """The record of a row, annotated by replaying known replies."""
        if isinstance(row, Curated):
            return Recorded(row, raw.position, raw.where)
        return self.by_outcome(raw, row, dialogue.replay(self.conversation(row), known))

    def pending(self, row: Prepared, known: Known) -> Request | None:
        """The next request about a row, if the known replies do not settle it."""
        state = dialogue.replay(self.conversation(row), known)
        return state.request if isinstance(state, Pending) else None

    def conversation(self, prepared: Prepared) -> dialogue.Conversation:
        return dialogue.converse(prepared.trace.question, prepared.lines, self.settings.dialogue)


def _renamed(row: Prepared | Curated) -> Prepared | Curated:
    """The row under an id of its own, made of what it says, where another row has its id."""
    if isinstance(row, Prepared):
        return replace(row, trace=replace(row.trace, id=f"{row.trace.id}~{digest(row.trace)[:8]}"))
    return replace(row, id=f"{row.id}~{row.digest[:8]}")


def _jobs(batch: Any) -> list[Job]:
    return [Job.loads(text) for text in batch["job"].to_pylist()]


# --- what Ray Data calls ---------------------------------------------------------------------------------------------


def curate_by_rules(batch: Any, settings: Settings) -> Any:
    """A table of jobs in, a table of the record out: annotated by rules."""
    worker = Worker(settings)
    return record.to_table(worker.by_rules(raw, row) for job in _jobs(batch) for raw, row in worker.prepared(job))


def curate_by_replies(batch: Any, settings: Settings) -> Any:
    """The same, annotated by replaying replies that stand in `settings.replies_from`."""
    worker = Worker(settings)
    return record.to_table(worker.by_replies(*item) for job in _jobs(batch) for item in worker.with_replies(job))


def pending_requests(batch: Any, settings: Settings) -> Any:
    """A table of jobs in, a table of the next request of every row that still has one out."""
    import pyarrow as pa

    worker = Worker(settings)
    found = [
        reply_store.request_values(digest(row.trace), request)
        for job in _jobs(batch)
        for _, row, known in worker.with_replies(job)
        if isinstance(row, Prepared) and (request := worker.pending(row, known))
    ]
    return pa.Table.from_pylist(found, schema=reply_store.request_schema())


class EndpointWorker:
    """An async actor of Ray Data: asks an OpenAI-compatible endpoint about many rows at once.

    `key` is the driver's: the environment of another node may not have it, and a runtime environment would show it.
    """

    def __init__(self, settings: Settings, endpoint: Mapping[str, Any], num_actors: int, key: str) -> None:
        self._worker = Worker(settings)
        self._endpoint = EndpointConfig.model_validate(endpoint)
        if key:
            os.environ[self._endpoint.api_key_env] = key
        self._share = 1 / num_actors
        self._client: Any = None

    async def __call__(self, batch: Any) -> Any:
        """A table of jobs in, a table of the record out."""
        jobs = _jobs(batch)
        rows = await asyncio.to_thread(lambda: [pair for job in jobs for pair in self._worker.prepared(job)])
        done = await asyncio.gather(*(self._row(raw, row) for raw, row in rows))
        return await asyncio.to_thread(record.to_table, done)

    async def _row(self, raw: RawRow, row: Prepared | Curated) -> Recorded:
        if isinstance(row, Curated):
            return Recorded(row, raw.position, raw.where)
        outcome: Outcome
        try:
            outcome = await dialogue.ask_all(self._worker.conversation(row), self._ask)
        except EndpointRefused:
            raise
        except Exception as error:  # one odd reply must not end the rows beside it
            outcome = Unusable(DropReason.ANNOTATION_FAILED, dialogue.failure(error), (), AnnotationUsage())
        return await asyncio.to_thread(self._worker.by_outcome, raw, row, outcome)

    async def _ask(self, request: Request) -> Reply:
        if self._client is None:  # here, since a client belongs to the event loop that made it
            self._client = Endpoint(self._endpoint, share=self._share)
        reply: Reply = await self._client.ask(request)
        return reply


def num_actors(endpoint: EndpointConfig) -> int:
    """Processes that share the requests in flight."""
    return max(1, math.ceil(endpoint.concurrency / _ROWS_PER_ACTOR))
