"""Two runs over the same traces: how far their annotations agree, and what each keeps that the other drops.

Rows are joined by what their traces say (`digest`), wherever they stood. Memory: one hash and one place a row of the
second run. Knows records, not annotators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.record import manifest, parts
from pipelines.record.parts import Place
from pipelines.record.store import Store
from pipelines.views.agreement import measures
from pipelines.views.config import CompareConfig
from sprint import annotate, lines
from sprint.agreement import Agreement, agreement, difference
from sprint.annotate import UnusableAnnotation
from sprint.errors import InputError
from sprint.files import write_json, write_text
from sprint.printable import printable
from sprint.types import DropReason

_GROUPS_KEPT = 16
_COLUMNS = ("digest", "reason", "reasoning", "annotation", "num_rounds", "ratio")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it. `first` and `second` name the two runs.

    num_joined     traces that both runs read
    num_compared   of them, those with an annotation in both that can be followed
    kept           of the joined ones: kept by both, by the first only, by the second only, by neither
    """

    first: str
    second: str
    num_joined: int
    num_compared: int
    kept: tuple[int, int, int, int]
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        names = ("both", "first_only", "second_only", "neither")
        values = {name: getattr(self, name) for name in ("first", "second", "num_joined", "num_compared")}
        return values | {"kept": dict(zip(names, self.kept, strict=True)), "agreement": self.agreement.as_dict()}


def compare(config: CompareConfig) -> Comparison:
    """Compares the runs, prints the table and writes it where told.

    Raises InputError for folders that are no runs, runs without a trace in common, and an unknown kind of output.
    """
    if config.out is not None and config.out.suffix not in (".json", ".html"):
        raise InputError(f"out is {str(config.out)!r}, expected a .json or .html file", field="out")
    found = comparison(Store(config.first), Store(config.second))
    if config.out is not None:
        _write(config, found)
    show(found)
    return found


def comparison(first: Store, second: Store) -> Comparison:
    """The comparison of two runs, row by row. Raises InputError where they have no trace in common."""
    folding = manifest.fold_lines(manifest.load_if_any(first))
    total, num_joined, kept = Agreement(), 0, [0, 0, 0, 0]
    for a, b in _joined(first, second):
        num_joined += 1
        kept[2 * bool(a["reason"]) + bool(b["reason"])] += 1
        total += _agreement(a, b, folding)
    if not num_joined:
        raise InputError(f"{first.name} and {second.name} have no trace in common", field="second")
    counts = (kept[0], kept[1], kept[2], kept[3])
    return Comparison(_name(first), _name(second), num_joined, total.num_traces, counts, total)


def _name(store: Store) -> str:
    """The run by its folder, and its annotator where it says."""
    who = manifest.annotator(manifest.load_if_any(store))
    name = store.name.rpartition("/")[2]
    return f"{name} ({who})" if who else name


def _joined(first: Store, second: Store) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of both runs with the same digest, in the order of the first's parts.

    Duplicates have the digest of the row they repeat, and no annotation: they stand for no trace.
    """
    places = {values["digest"]: place for place, values in parts.rows(second, ["digest", "reason"]) if _is_one(values)}
    reader = _Reader(second)
    for _, values in parts.rows(first, _COLUMNS):
        place = places.pop(values["digest"], None) if _is_one(values) else None
        if place is not None:
            yield values, reader.at(place)


def _is_one(values: Mapping[str, Any]) -> bool:
    """Whether a row stands for a trace."""
    return bool(values["digest"]) and values["reason"] != DropReason.DUPLICATE


class _Reader:
    """Reads rows at their places, a row group at a time; the groups read last are kept, since parts interleave."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def at(self, place: Place) -> dict[str, Any]:
        key = (place.part, place.group)
        rows = self._groups.pop(key, None)
        if rows is None:
            part = self._store.open_parquet(place.part)
            rows = part.read_row_group(place.group, columns=list(_COLUMNS)).to_pylist()
            if len(self._groups) >= _GROUPS_KEPT:
                del self._groups[next(iter(self._groups))]
        self._groups[key] = rows  # last in line
        return rows[place.row]


def _agreement(first: dict[str, Any], second: dict[str, Any], folding: int) -> Agreement:
    """Of one trace; empty where one of the two has no annotation that can be followed, or they cut the trace apart."""
    if not first["annotation"] or not second["annotation"] or first["reasoning"] != second["reasoning"]:
        return Agreement()
    pair = (annotate.loads(first["annotation"]), annotate.loads(second["annotation"]))
    try:
        found = agreement(*pair, lines.split(first["reasoning"]), folding)
    except UnusableAnnotation:
        return Agreement()
    # Each run's own rounds: packed with its own folding, and with its leaks mended.
    num_rounds, ratio = (difference(first[name], second[name]) for name in ("num_rounds", "ratio"))
    return replace(found, num_rounds=num_rounds, ratio=ratio)


# --- showing ---------------------------------------------------------------------------------------------------------


def _write(config: CompareConfig, found: Comparison) -> None:
    assert config.out is not None, "there is a place to write to"
    if config.out.suffix == ".json":
        write_json(config.out, found.as_dict())
    else:
        write_text(config.out, comparison_html(found))


def comparison_html(found: Comparison) -> str:
    """The page."""
    from pipelines.views.html import card, cards, document
    from pipelines.views.report import agreement_html

    names = ("kept by both", "kept by the first only", "kept by the second only", "kept by neither")
    counts = [card(f"{count:,}", name) for name, count in zip(names, found.kept, strict=True)]
    whole = f"{found.num_joined:,} traces in both runs, {found.num_compared:,} annotated by both"
    head = f"<header><h1>Two annotators</h1><p class='subtitle'>{whole}</p></header>"
    return document("Agreement", [head, cards(counts), agreement_html(found.agreement, found.first, found.second)])


def show(found: Comparison) -> None:
    """The table in the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("measure", "value", "meaning")
    for measure in measures(found.agreement, found.first, found.second):
        table.add_row(*(Text(printable(str(value))) for value in asdict(measure).values()))
    console = Console(highlight=False, markup=False)
    both, first, second, neither = found.kept
    console.print(f"{found.num_joined:,} traces in both runs, {found.num_compared:,} annotated by both")
    console.print(
        f"kept by both {both:,}, by the first only {first:,}, by the second only {second:,}, neither {neither:,}"
    )
    console.print(table)
