"""Length bins: does a run still save tokens, and is it still right, on the long problems?

A bin must not be chosen by what it shall explain: put the problems in order by one run's own length, and the longest
bin collects those where that run happened to write much, so any other run looks short there (regression to the mean).
So bins come from something independent of the runs compared; bins by their own length are there for comparison with
the paper (Fig. 6) and are labelled as biased. This file knows results, and no drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from statistics import fmean

from sprint.errors import InputError
from sprint.evals.results import Result, by_problem
from sprint.evals.runs import Run
from sprint.evals.stats import quantile

NUM_BINS = 4
# 90th over 10th percentile below which problems count as equally long: for questions, whose length says little, and in
# general.
_SPREAD, _LEAST_SPREAD = 1.5, 1.1
_MOST_LEVELS = 8


class Source(StrEnum):
    """What the bins were chosen by."""

    HELD_OUT = "held_out"  # the length in a run that is not compared
    LEVEL = "level"  # of the problem, as its benchmark has it
    QUESTION = "question"  # the length of the question
    OWN = "own"  # the length in one of the runs compared: biased

    @property
    def is_independent(self) -> bool:
        return self is not Source.OWN


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins in order: `titles` in words, `places` the bin of each problem by its id.

    `caveat` is for the reader; `whose` is the label of the run whose length it was, where it was a run's.
    """

    name: str
    source: Source
    caveat: str
    titles: tuple[str, ...]
    places: Mapping[str, int]
    whose: str = ""


def independent_bins(runs: Sequence[Run], held_out: Run | None, edges: Sequence[float] = ()) -> Bins | None:
    """Bins by a held-out run, else by the problems' level, else by the question; None where nothing tells them apart.

    Raises InputError when the held-out run is one of those compared, or gives the very answers of one.
    """
    results = [result for run in runs for result in run.results]
    if held_out:
        return _by_held_out(runs, held_out, edges)
    return _by_level(results) or _by_question(results)


def own_bins(run: Run, edges: Sequence[float] = ()) -> Bins | None:
    """Bins by the run's own generated tokens, as in the paper; None where it wrote equally much everywhere."""
    name = f"tokens that {run.label} generated"
    caveat = (
        f"Biased: the problems are put in order by what {run.label} itself wrote, so its last bin holds those on which "
        f"it happened to write much, and every other run looks short there."
    )
    bins = _by_length(name, Source.OWN, caveat, generated(run.results), edges)
    return replace(bins, whose=run.label) if bins else None


def generated(results: Sequence[Result]) -> dict[str, float]:
    """For each problem that was answered, the mean of the tokens generated over its samples."""
    answered = by_problem(result for result in results if result.usage)
    return {id: fmean(r.usage.generated_tokens for r in group if r.usage) for id, group in answered.items()}


def _by_held_out(runs: Sequence[Run], held_out: Run, edges: Sequence[float]) -> Bins | None:
    path, lengths = held_out.files[0].path, generated(held_out.results)
    for run in runs:
        _refuse_the_same(run, held_out, lengths)
    asked = {id for run in runs for id in run.problems}
    known = {id: length for id, length in lengths.items() if id in asked}
    if not known:
        raise InputError(f"{path} answers none of the problems of the runs, so it cannot say how long they are")
    name = f"tokens that the held-out run {held_out.label} generated"
    caveat = f"Chosen by {path}, which is none of the runs compared. {len(known)} of {len(asked)} problems are in it."
    return _by_length(name, Source.HELD_OUT, caveat, known, edges)


def _refuse_the_same(run: Run, held_out: Run, lengths: Mapping[str, float]) -> None:
    path, mine = held_out.files[0].path, generated(run.results)
    shared = [id for id in mine if id in lengths]
    hashes = {file.sha256 for file in run.files}
    copied = len({mine[id] for id in shared}) > 1 and all(mine[id] == lengths[id] for id in shared)
    if hashes & {file.sha256 for file in held_out.files} or copied:
        raise InputError(
            f"{path} wrote exactly as much as the run {run.label!r} on every problem: expected lengths from a run that "
            "is not compared, for instance of the same model with another seed and a temperature above 0"
        )


def _by_level(results: Sequence[Result]) -> Bins | None:
    levels = {result.id: result.level for result in results}
    titles = in_order(levels.values())
    if "" in titles or not 2 <= len(titles) <= _MOST_LEVELS:
        return None
    places = {id: titles.index(level) for id, level in levels.items()}
    caveat = "The level is the benchmark's own and depends on no run."
    return Bins("level of the problem", Source.LEVEL, caveat, tuple(f"level {title}" for title in titles), places)


def in_order(levels: Iterable[str]) -> list[str]:
    """The different levels in order: numbers by value, anything else by name."""
    names = sorted(set(levels))
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))


def _by_question(results: Sequence[Result]) -> Bins | None:
    lengths = {result.id: float(len(result.question)) for result in results}
    ordered = sorted(lengths.values())
    if _spread(ordered) < _SPREAD:
        return None
    caveat = "The length of the question depends on no run (nor need it say much about the length of the answer)."
    return _by_length("characters of the question", Source.QUESTION, caveat, lengths, ())


def _spread(ordered: Sequence[float]) -> float:
    return quantile(ordered, 0.9) / max(quantile(ordered, 0.1), 1.0)


def _by_length(
    name: str, source: Source, caveat: str, lengths: Mapping[str, float], edges: Sequence[float]
) -> Bins | None:
    """Bins with these edges, else of about equal size. A length x is in bin i when edges[i] <= x < edges[i + 1]."""
    ordered = sorted(lengths.values())
    if not ordered or (not edges and _spread(ordered) < _LEAST_SPREAD):
        return None
    chosen = sorted(edges) or sorted({quantile(ordered, share / NUM_BINS) for share in range(NUM_BINS + 1)})
    if len(chosen) < 3:
        return None
    places = {id: sum(length >= edge for edge in chosen[1:-1]) for id, length in lengths.items()}
    if edges:  # the reader's own edges may leave problems out, on either side
        places = {id: place for id, place in places.items() if chosen[0] <= lengths[id] <= chosen[-1]}
    titles = [f"{low:,.0f}–{high:,.0f}" for low, high in pairwise(chosen)]
    return Bins(name, source, caveat, tuple(titles), places)
