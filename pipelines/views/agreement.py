"""The agreement of two annotators in words and numbers, for terminal and page alike.

Knows the measures and what they mean, not where the annotations came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.views.counters import share
from pipelines.views.words import NOT_MEASURED, number, percent
from sprint.agreement import Agreement, Difference, Matches


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    name: str
    value: str
    meaning: str


def measures(found: Agreement, first: str, second: str) -> Iterator[Measure]:
    """Every measure. `first` and `second` name the annotators; the first is the reference."""
    yield Measure("traces", f"{found.num_traces:,}", "annotated by both")
    yield from _matches("step boundaries", found.boundaries, "lines at which a step begins")
    same = found.num_same_boundaries
    yield Measure(
        "same boundaries", percent(share(same, found.num_traces)), "traces in which every step begins at the same line"
    )
    yield Measure(
        "Pk", number(found.pk, 3), "segmentation error of Beeferman et al.: 0 is perfect, chance is about 0.5"
    )
    yield Measure("WindowDiff", number(found.windowdiff, 3), "segmentation error of Pevzner and Hearst: 0 is perfect")
    yield Measure("line roles", percent(found.role_accuracy), "lines that plan, execute or comment in both")
    yield Measure("Cohen's kappa", number(found.role_kappa, 3), "the same beyond chance: 1 is perfect, 0 is chance")
    yield from _matches("edges", found.edges, "dependencies, steps matched by the lines they share")
    yield from _matches("ancestors", found.ancestors, "dependencies through any number of steps")
    for name, difference in (("steps", found.num_steps), ("rounds", found.num_rounds), ("ratio", found.ratio)):
        yield _difference(name, difference, found.num_traces, first, second)


def _matches(name: str, found: Matches, meaning: str) -> Iterator[Measure]:
    counts = f"{meaning}; {found.both:,} in both, {found.first:,} in the first, {found.second:,} in the second"
    yield Measure(f"{name}: F1", percent(found.f1), counts)
    yield Measure(f"{name}: precision", percent(found.precision), "of the second's, those that the first has too")
    yield Measure(f"{name}: recall", percent(found.recall), "of the first's, those that the second has too")


def _difference(name: str, found: Difference, count: int, first: str, second: str) -> Measure:
    if not count:
        return Measure(name, NOT_MEASURED, "mean per trace")
    value = f"{found.first / count:.2f} / {found.second / count:.2f}"
    apart = f"{found.apart / count:.2f} apart, equal in {found.same:,}"
    return Measure(name, value, f"mean per trace, {first} / {second}; {apart}")
