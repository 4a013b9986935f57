"""The failure gallery: which wrong answers are shown, and under which heading. It knows results, not pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sprint.evals.results import Result


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that was not right. `right_elsewhere`: the other runs that solved the problem (with some sample)."""

    result: Result
    kind: str
    right_elsewhere: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Of one run: how many samples failed in each way, and those that are shown."""

    label: str
    kinds: Mapping[str, int]
    shown: tuple[Failure, ...]

    @property
    def num_failures(self) -> int:
        return sum(self.kinds.values())


def gallery(run: Sequence[Result], others: Sequence[Sequence[Result]], most: int) -> Gallery:
    """At most `most` failures of a run, each kind in turn, first those that another run solved.

    One sample of a problem is enough to see it. The choice depends on nothing but the results and their order.
    """
    solved = [(other[0].label, {result.id for result in other if result.is_correct}) for other in others]
    kinds: dict[str, list[Failure]] = {}
    for result in run:
        if not result.is_correct:
            elsewhere = tuple(label for label, ids in solved if result.id in ids)
            kinds.setdefault(kind_of(result), []).append(Failure(result, kind_of(result), elsewhere))
    counts = {kind: len(found) for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1]))}
    queues = [_once(sorted(kinds[kind], key=lambda failure: not failure.right_elsewhere)) for kind in counts]
    in_turn = [failure for turn in zip_longest(*queues) for failure in turn if failure]
    return Gallery(run[0].label, counts, tuple(in_turn[:most]))


def kind_of(result: Result) -> str:
    """In words, how a sample failed."""
    if result.usage is None:
        return "the call failed"
    grade = result.grade.value.replace("_", " ") if result.grade else "not graded"
    ended = result.stop_reason.replace("_", " ")
    return grade if ended in ("answered", "stop", "") else f"{grade}, ended by {ended}"


def _once(failures: Sequence[Failure]) -> list[Failure]:
    """The first failure of each problem."""
    first: dict[str, Failure] = {}
    for failure in failures:
        first.setdefault(failure.result.id, failure)
    return list(first.values())
