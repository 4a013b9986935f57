"""Curation at scale: Ray Data reads shards of traces and curates them; the driver writes the rows as they stream by.

The result does not depend on how many machines took part: rows come back in input order, and of two equal rows the
first is kept. No row vanishes. Knows nothing of how a row is judged (`sprint.curate`) nor of the report's looks.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from pipelines import sources
from pipelines.config import CurateConfig
from pipelines.report import write_report
from pipelines.sets import COUNTS, Draft, check_target
from pipelines.summary import CurationSummary, Tally, print_summary
from sprint.curate import Curated, CurationOptions, curate_row, malformed
from sprint.errors import InputError
from sprint.files import write_json
from sprint.local_ray import ray_session
from sprint.rules import RulesAnnotator
from sprint.types import DropReason

Row = tuple[Curated, str]  # and where it stood in the inputs


def curate(config: CurateConfig) -> CurationSummary:
    """Curates the inputs into `config.out`, prints the counts and returns them.

    Raises InputError, and leaves nothing behind, for inputs that are missing, empty or unreadable and for an output
    folder in use.
    """
    paths = sources.find(config.inputs)
    check_target(config.out, config.overwrite, paths)
    shards = sources.shards(paths, config.rows_per_task, config.limit)
    _check_columns(shards, config.columns)
    began = time.monotonic()
    with Draft(config.out, config.rows_per_file) as draft:
        tally = Tally(config.seed)
        num_rows = sum(shard.num_rows for shard in shards)
        for row, where in _shown(_without_duplicates(_curated(shards, config)), num_rows):
            draft.add(row, where)
            tally.add(row)
        if tally.is_unreadable:
            message = f"none of the {tally.num_rows} rows is readable; the first: {tally.first_detail}"
            raise InputError(message, field="inputs")
        summary = tally.summary(config.out, time.monotonic() - began)
        write_json(draft.folder / COUNTS, summary.as_dict() | {"config": config.model_dump(mode="json")})
        write_report(draft.folder / "report.html", summary, tally.examples)
    print_summary(summary)
    return summary


def _shown(rows: Iterator[Row], num_rows: int) -> Iterator[Row]:
    """The rows, with a progress bar where someone is watching."""
    from rich.progress import track

    yield from track(rows, "curating", total=num_rows, transient=True, disable=not sys.stderr.isatty())


def _check_columns(shards: list[sources.Shard], columns: Mapping[str, str]) -> None:
    """Raises InputError for a column option that names a column none of the first rows has."""
    if not columns:
        return
    found: set[str] = set()
    for shard in shards[:: max(1, len(shards) // 8)]:
        rows = sources.read(shard)
        found.update(column for row, _ in zip(rows, range(20), strict=False) for column in row.value)
    for name, column in columns.items():
        if column not in found:
            listed = ", ".join(sorted(found)) or "none"
            raise InputError(f"no column {column!r} for {name!r} in the inputs; found: {listed}", field="columns")


def _without_duplicates(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, those whose question and reasoning came by before turned into duplicates. Memory: one hash a row."""
    first: dict[str, str] = {}
    for row, where in rows:
        if row.digest and row.digest in first:
            detail = f"same question and reasoning as {first[row.digest]}"
            row = Curated(row.id, row.question, row.answer, DropReason.DUPLICATE, detail, row.digest)
        elif row.digest:
            first[row.digest] = row.id
        yield row, where


# --- Ray -------------------------------------------------------------------------------------------------------------


def _curated(shards: list[sources.Shard], config: CurateConfig) -> Iterator[Row]:
    """Every row curated, in input order, streamed from Ray Data."""
    import ray

    with ray_session(config.num_cpus):
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards)).map_batches(
            curate_shards,
            fn_kwargs={"options": asdict(config.options)},
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=config.cpus_per_task,
        )
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when a dataset is made
        for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for fields in batch.to_pylist():
                where = fields.pop("where")
                reason = fields.pop("reason")
                yield Curated(**fields, reason=DropReason(reason) if reason else None), where


def curate_shards(batch: Any, options: Mapping[str, Any]) -> Any:
    """A Ray Data function: a table of shards in, a table of curated rows out."""
    import pyarrow as pa

    settings = CurationOptions(**options)
    annotator = RulesAnnotator()
    rows = [
        asdict(_one(raw, annotator, settings)) | {"where": raw.where}
        for fields in batch.to_pylist()
        for raw in sources.read(sources.Shard(**fields))
    ]
    return pa.Table.from_pylist(rows, schema=_schema())


def _one(raw: sources.RawRow, annotator: RulesAnnotator, options: CurationOptions) -> Curated:
    if raw.error:
        return malformed("", raw.error)
    row = curate_row(raw.value, annotator, options)
    return replace(row, detail=f"{raw.where}: {row.detail}") if row.reason is DropReason.MALFORMED_ROW else row


def _schema() -> Any:
    """Fixed, so that blocks agree even where a shard holds only dropped rows."""
    import pyarrow as pa

    integers = {"num_lines", "num_steps", "num_rounds", "num_executions"}
    names = [*Curated.__slots__, "where"]
    kinds = dict.fromkeys(integers, pa.int32()) | {"ratio": pa.float64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])
