"""Sibling leaks: executions that use what only a sibling of their round produced, which they could not see.

An execution sees the question, everything of earlier rounds, and the plan of its own round up to its prompt. It does
not see the executions of that plan, nor anything later. Knows steps, rounds and turns of phrase; nothing of lines or
annotators. Looks for clear cases only: a false alarm costs parallelism.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sprint.backrefs import Phrase, Reference, phrases
from sprint.quantities import numbers, plain
from sprint.rounds import rounds_of
from sprint.types import Step

_OPERAND = re.compile(  # a number that goes into a calculation, "1728 / 12"; after "=" it would come out of one
    r"(\d(?<![\w.,]\d)(?:[\d,]{2,}(?:\.\d+)?|\d?\.\d+))(?=[)}$]*\s*[-+*/×÷·^])"
)
_COMES_OUT = re.compile(r"[=≈][\s$({]*$")
_RESULT = r"(?:=|≈|\\approx|\b(?:is|gives|get|makes|equals|becomes|yields)\b(?: about| approximately)?)[\s$]*"
_LABELLED = re.compile(  # "A=9", but not the "c = 0" of "ax + by + c = 0"
    r"([A-Za-z](?![A-Za-z])(?<![\w\\^/+*.-][A-Za-z])(?<![-+*/] [A-Za-z])(?:_\{?\w{1,3}\}?)?)"
    r"\s?=\s?(-?\d+(?:\.\d+)?)(?![\w/^*+]|\.\d|\s*[-+*/^=])"
)
_GIVEN = re.compile(r"\b(?:since|because|given(?: that)?|recall(?: that)?|know(?: that)?|and|have)\s+$|^\W*$", re.I)
_GIVEN_CHARS = 12  # what _GIVEN looks back


@dataclass(frozen=True, slots=True)
class Leak:
    """The execution of `step` uses what the execution of `source` produced; `evidence` says what, in words."""

    step: int
    source: int
    evidence: str


def leaks(question: str, steps: Sequence[Step]) -> tuple[Leak, ...]:
    """The leaks among the steps as they are packed, at most one for each pair, in the order of the steps."""
    scene = _Scene(question, steps)
    found: dict[tuple[int, int], Leak] = {}
    for step in steps:
        for leak in scene.leaks_of(step):
            found.setdefault((leak.step, leak.source), leak)
    return tuple(found.values())


def mend(question: str, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Leak, ...]]:
    """The steps with a dependency added for each leak, until none is left, and the leaks that were mended.

    A step that moves to a later round may uncover another leak, so this repeats. It ends: edges are only added, each
    from an earlier step to a later one.
    """
    mended, all_found = tuple(steps), tuple[Leak, ...]()
    while found := leaks(question, mended):
        sources: dict[int, tuple[int, ...]] = defaultdict(tuple)
        for leak in found:
            sources[leak.step] += (leak.source,)
        mended = tuple(replace(step, parents=step.parents + sources[step.index]) for step in mended)
        all_found += found
    return mended, all_found


class _Scene:
    """Who can see what, and what stands where, for one packing of the steps. Reads only the texts that matter."""

    def __init__(self, question: str, steps: Sequence[Step]) -> None:
        self._question = question
        self._rounds = rounds_of(steps)
        self._steps = {step.index: step for step in steps}
        self._running = [step.index for step in steps if step.execution]
        self._planned: dict[int, frozenset[str]] = {}
        self._produced: dict[int, frozenset[str]] = {}

    def leaks_of(self, step: Step) -> Iterator[Leak]:
        """What one execution gives away."""
        hidden = self._hidden_from(step) if step.execution else []
        if hidden:
            yield from self._labels_used(step, hidden)
            yield from self._numbers_used(step, hidden)
            yield from self._phrases_used(step, hidden)

    def _hidden_from(self, step: Step) -> list[int]:
        """The earlier steps whose executions this one cannot see, in order: siblings, and what runs later still."""
        own = self._rounds[step.index]
        return [index for index in self._running if index < step.index and self._rounds[index] >= own]

    def _sees_plan(self, step: Step, other: int) -> bool:
        return (self._rounds[other], other) <= (self._rounds[step.index], step.index)

    def _sees_execution(self, step: Step, other: int) -> bool:
        return self._rounds[other] < self._rounds[step.index]

    # --- labels --------------------------------------------------------------------------------------------------

    def _labels_used(self, step: Step, hidden: Collection[int]) -> Iterator[Leak]:
        """`A=9` taken for granted, where nothing in sight says so and A is never anything else."""
        before, end = "", 0  # what stands before the label, other labels left out
        seen: set[str] = set()
        for match in _LABELLED.finditer(step.execution) if "=" in step.execution else ():
            before, end = before + step.execution[end : match.start()], match.end()
            label, value = match.groups()
            is_first = label not in seen
            seen.add(label)
            if not is_first or not _GIVEN.search(before[-_GIVEN_CHARS:]) or value in numbers(before):
                continue
            yield from self._from(step, self._hidden_givers(step, label, value, hidden), match[0])

    def _hidden_givers(self, step: Step, label: str, value: str, hidden: Collection[int]) -> list[int]:
        """The latest hidden execution that gives the label its value, if that is where it must come from."""
        values = self._assertions[label]
        if len(values) > 1 or value in self._given:
            return []
        places = values[value]
        if any(self._sees_execution(step, index) if runs else self._sees_plan(step, index) for index, runs in places):
            return []
        return [index for index, runs in places if runs and index in hidden][-1:]

    @cached_property
    def _assertions(self) -> dict[str, dict[str, list[tuple[int, bool]]]]:
        """For each label and each of its values the places that say so: the step, and whether in its execution."""
        found: dict[str, dict[str, list[tuple[int, bool]]]] = defaultdict(lambda: defaultdict(list))
        for step in self._steps.values():
            for runs, text in (
                (False, f"{step.plan}\n{step.instruction}"),
                (True, f"{step.execution}\n{step.comment}"),
            ):
                for label, value in _LABELLED.findall(text):
                    found[label][value].append((step.index, runs))
        return found

    # --- numbers -------------------------------------------------------------------------------------------------

    def _numbers_used(self, step: Step, hidden: Collection[int]) -> Iterator[Leak]:
        """A distinctive number that goes into a calculation and that nothing in sight gives."""
        text = plain(step.execution)
        done: set[str] = set()
        for match in _OPERAND.finditer(text):
            written = match[1]
            if written in done or not _is_distinctive(written):
                continue
            done.add(written)
            holders = [index for index in hidden if written in self._steps[index].execution]
            sources = [index for index in holders if _arrives_at(self._steps[index].execution, written)]
            if sources and self._must_come_from_elsewhere(step, text[: match.start()], written):
                yield from self._from(step, sources[-1:], written)

    def _must_come_from_elsewhere(self, step: Step, before: str, written: str) -> bool:
        """Whether a number stands neither in what the step sees nor before it in its own text, nor follows at once."""
        number, own = numbers(written)[0], numbers(before)
        if _COMES_OUT.search(before[-_GIVEN_CHARS:]) or number in own or self._sees(step, number):
            return False
        return not _is_within_reach(float(number), {*own, *self._given})

    @cached_property
    def _given(self) -> frozenset[str]:
        return frozenset(numbers(self._question))

    def _sees(self, step: Step, number: str) -> bool:
        """Whether the execution of `step` can see the number anywhere but in its own text."""
        return number in self._given or any(
            (self._sees_plan(step, other) and number in self._numbers_planned(other))
            or (self._sees_execution(step, other) and number in self._numbers_produced(other))
            for other in self._steps
        )

    def _numbers_planned(self, index: int) -> frozenset[str]:
        if index not in self._planned:
            self._planned[index] = frozenset(numbers(f"{self._steps[index].plan}\n{self._steps[index].instruction}"))
        return self._planned[index]

    def _numbers_produced(self, index: int) -> frozenset[str]:
        if index not in self._produced:
            self._produced[index] = frozenset(numbers(f"{self._steps[index].execution}\n{self._steps[index].comment}"))
        return self._produced[index]

    # --- phrases -------------------------------------------------------------------------------------------------

    def _phrases_used(self, step: Step, hidden: Sequence[int]) -> Iterator[Leak]:
        for phrase in phrases(step.execution):
            yield from self._from(step, self._referents(step, phrase, hidden), f'"{phrase.text}"')

    def _referents(self, step: Step, phrase: Phrase, hidden: Sequence[int]) -> Sequence[int]:
        """The hidden steps that a phrase points at: those that hold the values it speaks of, else the one before."""
        if phrase.is_resolved or any(self._sees(step, value) for value in phrase.values):
            return []
        shared = {index: len(self._numbers_produced(index).intersection(phrase.values)) for index in hidden}
        holders = sorted((index for index in hidden if shared[index]), key=lambda index: shared[index])
        if not holders and phrase.reference is not Reference.WEAK:
            nearest = max(index for index in self._running if index < step.index)
            holders = list(hidden) if nearest in hidden else []
        return holders if phrase.reference is Reference.ALL else holders[-1:]

    def _from(self, step: Step, sources: Iterable[int], evidence: str) -> Iterator[Leak]:
        for source in sources:
            yield Leak(step.index, source, evidence)


def _is_distinctive(number: str) -> bool:
    """Whether a number is no round or small one that comes up everywhere: it has three significant digits."""
    return len(number.replace(".", "").replace(",", "").strip("0")) > 2


def _arrives_at(execution: str, number: str) -> bool:
    """Whether an execution has the number as a result, rather than starting from it."""
    return re.search(rf"{_RESULT}{re.escape(number)}(?![\w.]*\d)", plain(execution)) is not None


def _is_within_reach(number: float, known: Iterable[str]) -> bool:
    """Whether one operation on known numbers gives the number: then it may have been worked out in the head."""
    values = {float(value) for value in known}
    others = {result for value in values for result in (number - value, number + value, value - number, number * value)}
    ratios = {number / value for value in values if value} | {value / number for value in values}
    powers = {value**k for value in values if abs(value) < 100 for k in (2, 3, 4)}
    return not values.isdisjoint(others | ratios) or number in powers
