"""How far two annotations of the same traces agree: where steps begin, what each line does, what depends on what.

The measures are those of text segmentation and of graph comparison. The first annotation is the reference: precision is
the share of the second's findings that the first has too. Everything is kept as counts that add up over traces, so the
figures of many traces are micro-averages. Knows annotations and lines, not who made them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sprint import annotate, dag, rounds
from sprint.types import Annotation

ROLES = ("none", "plan", "execution", "comment")
Edges = set[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Matches:
    """Findings of the first, of the second, and of both. A measure without anything to measure is None."""

    both: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.both + other.both, self.first + other.first, self.second + other.second)

    @property
    def precision(self) -> float | None:
        return self.both / self.second if self.second else None

    @property
    def recall(self) -> float | None:
        return self.both / self.first if self.first else None

    @property
    def f1(self) -> float | None:
        return 2 * self.both / (self.first + self.second) if self.first + self.second else None


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that both annotations give for each trace: the sums, the sum of absolute differences, the equal ones."""

    first: float = 0.0
    second: float = 0.0
    apart: float = 0.0
    same: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two annotators agree on. Adds up over traces.

    boundaries      lines at which a step begins, the first line of a trace aside
    pk, windowdiff  windows of half the first's mean step in which the two disagree on whether (Beeferman et al. 1999),
                    and on how many times (Pevzner and Hearst 2002), a step begins
    roles           lines by role in the first and in the second, row by row in the order of `ROLES`
    edges           dependencies, the first's steps standing for the second's with which they share most lines
    ancestors       the same for dependencies through any number of steps
    """

    num_traces: int = 0
    num_same_boundaries: int = 0
    boundaries: Matches = Matches()
    num_windows: int = 0
    pk_errors: int = 0
    windowdiff_errors: int = 0
    roles: tuple[int, ...] = (0,) * len(ROLES) ** 2
    edges: Matches = Matches()
    ancestors: Matches = Matches()
    num_steps: Difference = Difference()
    num_rounds: Difference = Difference()
    ratio: Difference = Difference()

    def __add__(self, other: Agreement) -> Agreement:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "roles"}
        return Agreement(**sums, roles=tuple(a + b for a, b in zip(self.roles, other.roles, strict=True)))

    @property
    def pk(self) -> float | None:
        return self.pk_errors / self.num_windows if self.num_windows else None

    @property
    def windowdiff(self) -> float | None:
        return self.windowdiff_errors / self.num_windows if self.num_windows else None

    @property
    def role_accuracy(self) -> float | None:
        """Share of the lines that have the same role in both."""
        total = sum(self.roles)
        return sum(self.roles[:: len(ROLES) + 1]) / total if total else None

    @property
    def role_kappa(self) -> float | None:
        """Cohen's kappa of the roles; None where both give every line one and the same role."""
        total, size = sum(self.roles), len(ROLES)
        rows = [self.roles[i * size : (i + 1) * size] for i in range(size)]
        chance: int = sum(sum(row) * sum(column) for row, column in zip(rows, zip(*rows, strict=True), strict=True))
        square = total * total
        if chance == square:
            return None
        return ((self.role_accuracy or 0.0) - chance / square) / (1 - chance / square)

    def as_dict(self) -> dict[str, Any]:
        """Every measure as JSON values, to four digits."""
        names = ("pk", "windowdiff", "role_accuracy", "role_kappa")
        matches = {name: _scores(getattr(self, name)) for name in ("boundaries", "edges", "ancestors")}
        numbers = {name: _means(getattr(self, name), self.num_traces) for name in ("num_steps", "num_rounds", "ratio")}
        whole = {"num_traces": self.num_traces, "num_same_boundaries": self.num_same_boundaries}
        return whole | matches | {name: _rounded(getattr(self, name)) for name in names} | numbers


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _scores(found: Matches) -> dict[str, Any]:
    counts = {"both": found.both, "first": found.first, "second": found.second}
    return counts | {name: _rounded(getattr(found, name)) for name in ("precision", "recall", "f1")}


def _means(found: Difference, count: int) -> dict[str, Any]:
    sums = {"mean_first": found.first, "mean_second": found.second, "mean_apart": found.apart}
    return {name: _rounded(value / count if count else None) for name, value in sums.items()} | {"same": found.same}


# --- of one trace ----------------------------------------------------------------------------------------------------


def agreement(
    first: Annotation, second: Annotation, trace_lines: Sequence[str], fold_lines: int = annotate.FOLD_LINES
) -> Agreement:
    """The agreement on one trace. Raises UnusableAnnotation where one of the two cannot be followed."""
    pair = (first, second)
    packed = [annotate.steps_of(annotation, trace_lines, fold_lines) for annotation in pair]
    num_rounds = [len(rounds.by_round(steps)) for steps in packed]
    starts = [step_starts(annotation) - {1} for annotation in pair]
    windows, pk_errors, windowdiff_errors = _windows(starts[0], starts[1], len(trace_lines))
    return Agreement(
        num_traces=1,
        num_same_boundaries=int(starts[0] == starts[1]),
        boundaries=_matches(*starts),
        num_windows=windows,
        pk_errors=pk_errors,
        windowdiff_errors=windowdiff_errors,
        roles=_confusion(*(_roles(annotation, len(trace_lines)) for annotation in pair)),
        edges=_edge_matches(first, second, [_edges(annotation.parents) for annotation in pair]),
        ancestors=_edge_matches(first, second, [_edges(dag.ancestors(annotation.parents)) for annotation in pair]),
        num_steps=difference(*map(len, packed)),
        num_rounds=difference(*num_rounds),
        ratio=difference(*map(rounds.ratio, packed)),
    )


def step_starts(annotation: Annotation) -> set[int]:
    """The lines at which a step begins."""
    return {min(part.first for part in annotate.parts_of(step)) for step in annotation.steps}


def _matches(first: set[Any], second: set[Any]) -> Matches:
    return Matches(len(first & second), len(first), len(second))


def difference(first: float, second: float) -> Difference:
    return Difference(first, second, abs(first - second), int(first == second))


def _windows(first: set[int], second: set[int], num_lines: int) -> tuple[int, int, int]:
    """How many windows there are, and in how many Pk and WindowDiff find fault."""
    size = max(1, round(num_lines / (len(first) + 1) / 2))
    counts = [_counts_before(starts, num_lines) for starts in (first, second)]
    inside = [(a[i + size] - a[i], b[i + size] - b[i]) for a, b in [counts] for i in range(1, num_lines - size + 1)]
    return len(inside), sum(bool(a) != bool(b) for a, b in inside), sum(a != b for a, b in inside)


def _counts_before(starts: set[int], num_lines: int) -> list[int]:
    """For each line (from 1; entry 0 is unused) how many steps begin at it or before."""
    counts = [0]
    for line in range(1, num_lines + 1):
        counts.append(counts[-1] + (line in starts))
    return counts


# --- roles -----------------------------------------------------------------------------------------------------------


def _roles(annotation: Annotation, num_lines: int) -> list[int]:
    roles = [0] * num_lines
    for step in annotation.steps:
        for role, part in enumerate((step.plan, step.execution, step.comment), 1):
            if part is not None:
                roles[part.first - 1 : part.last] = [role] * len(part)
    return roles


def _confusion(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    counts = Counter(zip(first, second, strict=True))
    return tuple(counts[a, b] for a in range(len(ROLES)) for b in range(len(ROLES)))


# --- edges -----------------------------------------------------------------------------------------------------------


def _edges(parents: dag.Parents | Sequence[frozenset[int]]) -> Edges:
    return {(parent, step) for step, of_step in enumerate(parents, 1) for parent in of_step}


def _edge_matches(first: Annotation, second: Annotation, edges: Sequence[Edges]) -> Matches:
    """Compares the first's edges, moved to the second's steps, with the second's; those inside one step vanish."""
    place = _places(first, second)
    moved = {(place[a], place[b]) for a, b in edges[0] if a in place and b in place and place[a] != place[b]}
    return _matches(moved, edges[1])


def _places(first: Annotation, second: Annotation) -> dict[int, int]:
    """For each of the first's steps the second's step with which it shares most lines (the earliest of equals)."""
    owner = {line: index for index, step in enumerate(second.steps, 1) for line in annotate.lines_of(step)}
    places = {}
    for index, step in enumerate(first.steps, 1):
        shared = Counter(owner[line] for line in annotate.lines_of(step) if line in owner)
        if shared:
            places[index] = min(shared, key=lambda candidate: (-shared[candidate], candidate))
    return places
