"""The record of a run: one line for every input row, kept or dropped, with its annotation, its cost and its replies.

`rows/part-*.parquet` in the run's folder. Everything else in the folder (training sets, counts, report) is made from
it. Knows the columns, not how rows are judged nor who writes them when.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sprint.curated import Curated
from sprint.requests import AnnotationUsage, Exchange, Purpose
from sprint.types import DropReason

FOLDER = "rows"
_INTEGERS = ("position", "sequential_before", "sequential_after", "prompt_tokens", "cached_tokens", "output_tokens")
_FLOATS = ("ratio", "step_ratio", "coverage", "seconds", "cost")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A curated row in its place. `position` orders rows as the inputs do; `where` names file and row for a person."""

    row: Curated
    position: int
    where: str
    exchanges: tuple[Exchange, ...] = ()
    cost: float = 0.0


def columns() -> list[str]:
    """The record's columns: those of `Curated` with its usage spread out, and the row's place, cost and replies."""
    own = [field.name for field in fields(Curated) if field.name != "usage"]
    return ["position", "where", *own, *(field.name for field in fields(AnnotationUsage)), "cost", "exchanges"]


def schema() -> Any:
    """As Arrow; fixed, so that parts agree whatever their rows hold."""
    import pyarrow as pa

    kinds = {name: pa.int64() for name in _INTEGERS} | {name: pa.float64() for name in _FLOATS}
    kinds |= {name: pa.int32() for name in columns() if name.startswith("num_") or name == "width"}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns()])


def to_table(rows: Iterable[Recorded]) -> Any:
    """The rows as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pylist([_values(recorded) for recorded in rows], schema=schema())


def from_values(values: Mapping[str, Any]) -> Recorded:
    """One row of such a table, read back."""
    own = {field.name: values[field.name] for field in fields(Curated) if field.name != "usage"}
    reason = DropReason(values["reason"]) if values["reason"] else None
    row = Curated(**own | {"reason": reason, "usage": usage_of(values)})
    return Recorded(row, values["position"], values["where"], exchanges_of(values["exchanges"]), values["cost"])


def _values(recorded: Recorded) -> dict[str, Any]:
    row = recorded.row
    own = {field.name: getattr(row, field.name) for field in fields(Curated) if field.name != "usage"}
    exchanges = json.dumps([asdict(exchange) for exchange in recorded.exchanges], ensure_ascii=False)
    place = {"position": recorded.position, "where": recorded.where, "cost": recorded.cost}
    return own | asdict(row.usage) | place | {"exchanges": exchanges if recorded.exchanges else ""}


def usage_of(values: Mapping[str, Any]) -> AnnotationUsage:
    """What stands in the columns of the usage."""
    return AnnotationUsage(*(values[field.name] for field in fields(AnnotationUsage)))


def exchanges_of(text: str) -> tuple[Exchange, ...]:
    """What stands in the column `exchanges`."""
    found = json.loads(text) if text else []
    return tuple(Exchange(**item | {"purpose": Purpose(item["purpose"])}) for item in found)
