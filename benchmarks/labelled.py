"""Traces whose sentences carry labelled dependencies: how well an annotator's edges agree with them.

Each row has `chunks`, about a sentence each, with the numbers (from 0) of the chunks that it depends on. The trace is
the chunks joined by line breaks. A chunk belongs to the step in which it begins, and a label becomes an edge between
steps where the two chunks belong to different ones: what was labelled inside a step says nothing about its edges.
Nothing is reduced: `direct` compares the edges as they stand, `closure` who depends on whom at all, through others
included. The closure is the fairer measure: it is what packing goes by, and a label often names a remote source where
a near one passes it on.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from sprint import dag
from sprint.agreement import Matches
from sprint.annotate import Annotator
from sprint.lines import split
from sprint.types import Annotation

_JOINT = "\n"
Parents = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Labelled:
    """A trace in chunks, and for each chunk the numbers (from 1) of the chunks it depends on."""

    question: str
    chunks: tuple[str, ...]
    parents: Parents

    @property
    def text(self) -> str:
        return _JOINT.join(self.chunks)

    def starts(self) -> list[int]:
        """Where each chunk begins in `text`."""
        return list(accumulate((len(chunk) + len(_JOINT) for chunk in self.chunks[:-1]), initial=0))


@dataclass(frozen=True)
class EdgeScores:
    """Edges of the labels (`first`), of the annotator (`second`) and of both; they add up over traces."""

    direct: Matches = field(default_factory=Matches)
    closure: Matches = field(default_factory=Matches)

    def __add__(self, other: EdgeScores) -> EdgeScores:
        return EdgeScores(self.direct + other.direct, self.closure + other.closure)


def read_labelled(path: Path) -> list[Labelled]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [_labelled(row["problem"], row["chunks"]) for row in rows]


def _labelled(question: str, chunks: Sequence[dict[str, object]]) -> Labelled:
    parents = tuple(tuple(int(source) + 1 for source in chunk["depends_on"]) for chunk in chunks)  # type: ignore[attr-defined]
    return Labelled(question, tuple(str(chunk["text"]) for chunk in chunks), parents)


def edge_precision_recall(traces: Iterable[Labelled], annotator: Annotator) -> EdgeScores:
    """The annotator's edges against the labels, over all traces."""
    total = EdgeScores()
    for trace in traces:
        lines = split(trace.text)
        annotation = annotator.annotate(trace.question, lines)
        total += compare(lifted(trace, annotation, lines), annotation.parents)
    return total


def compare(wanted: dag.Parents, found: dag.Parents) -> EdgeScores:
    """The scores of one graph against another of the same steps."""
    return EdgeScores(
        _matches(_edges(wanted), _edges(found)), _matches(_edges(dag.ancestors(wanted)), _edges(dag.ancestors(found)))
    )


def lifted(trace: Labelled, annotation: Annotation, lines: Sequence[str]) -> Parents:
    """The labels as parents of the annotation's steps."""
    owner = _step_of_line(annotation, len(lines))
    ends = list(accumulate(map(len, lines)))
    places = [owner[bisect_right(ends, start)] for start in trace.starts()]
    parents: list[dict[int, None]] = [{} for _ in annotation.steps]
    for place, sources in zip(places, trace.parents, strict=True):
        found = {places[source - 1] for source in sources} - {place}
        parents[place - 1] |= dict.fromkeys(sorted(source for source in found if source < place))
    return tuple(map(tuple, parents))


def _step_of_line(annotation: Annotation, num_lines: int) -> list[int]:
    """For each line the step that it stands in; a line in none goes with the step before it."""
    owner = [0] * num_lines
    for index, step in enumerate(annotation.steps, 1):
        for part in (step.plan, step.execution, step.comment):
            if part is not None:
                owner[part.first - 1 : part.last] = [index] * len(part)
    for line, index in enumerate(owner):
        owner[line] = index or (owner[line - 1] if line else 1)
    return owner


def _edges(parents: Iterable[Iterable[int]]) -> set[tuple[int, int]]:
    return {(source, step) for step, of_step in enumerate(parents, 1) for source in of_step}


def _matches(first: set[tuple[int, int]], second: set[tuple[int, int]]) -> Matches:
    return Matches(len(first & second), len(first), len(second))
