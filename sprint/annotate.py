"""From a trace to its steps: what an annotator is, and how its line ranges become the texts of steps (paper §3.2, A.2).

An annotator never rewrites text: it names lines by number, and this file cuts the trace. Knows nothing of how an
annotator decides (`rules` is one that needs no model), nor of rounds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from sprint import dag
from sprint.discourse import plan_instruction, says_no_more
from sprint.errors import InputError
from sprint.types import Annotation, DropReason, LineRange, Step, StepLines

FOLD_LINES = 3


class Annotator(Protocol):
    """Finds the steps of a trace and what each depends on."""

    def annotate(self, question: str, trace_lines: Sequence[str]) -> Annotation:
        """Steps by line ranges and their parents. Raises UnusableAnnotation when there is nothing to be found."""
        ...


class UnusableAnnotation(InputError):
    """An annotation that cannot be followed; `reason` says in which way."""

    def __init__(self, message: str, reason: DropReason) -> None:
        super().__init__(message)
        self.reason = reason


def steps_of(annotation: Annotation, trace_lines: Sequence[str], fold_lines: int = FOLD_LINES) -> tuple[Step, ...]:
    """The annotated steps as texts, with executions of at most `fold_lines` lines folded into their plans.

    The parents are those of the annotation: the graph is made before the folding. A comment on an executed step stays
    apart, for the next plan to open with; any other is part of the plan. Where the plan says no more than the
    instruction, the instruction stands for it and the plan is left empty. Raises UnusableAnnotation naming the step at
    fault.
    """
    _check(annotation, len(trace_lines))
    return tuple(
        _step(index, step, parents, trace_lines, fold_lines)
        for index, (step, parents) in enumerate(zip(annotation.steps, annotation.parents, strict=True), 1)
    )


def _check(annotation: Annotation, num_lines: int) -> None:
    if not annotation.steps or len(annotation.steps) != len(annotation.parents):
        counts = f"{len(annotation.steps)} steps and {len(annotation.parents)} parent lists"
        raise UnusableAnnotation(f"the annotation has {counts}", DropReason.ANNOTATION_FAILED)
    if bad := dag.bad_parent(annotation.parents):
        raise UnusableAnnotation(f"step {bad[0]} names step {bad[1]} as a parent", DropReason.BAD_PARENTS)
    taken: set[int] = set()
    for index, step in enumerate(annotation.steps, 1):
        _take_lines(index, step, taken, num_lines)


def _take_lines(index: int, step: StepLines, taken: set[int], num_lines: int) -> None:
    """Adds the lines that step `index` names to those `taken` so far; each may be named once."""
    parts = parts_of(step)
    if not parts:
        raise UnusableAnnotation(f"step {index} names no lines", DropReason.BAD_RANGES)
    for part in parts:
        where = f"step {index} names lines {part.first}-{part.last} of {num_lines}"
        if not 1 <= part.first <= part.last <= num_lines:
            raise UnusableAnnotation(f"{where}, which do not exist", DropReason.BAD_RANGES)
        named = range(part.first, part.last + 1)
        if not taken.isdisjoint(named):
            raise UnusableAnnotation(f"{where}, some of which are named already", DropReason.BAD_RANGES)
        taken.update(named)


def parts_of(step: StepLines) -> list[LineRange]:
    """The line ranges that a step has."""
    return [part for part in (step.plan, step.execution, step.comment) if part is not None]


def lines_of(*steps: StepLines) -> set[int]:
    """The numbers of all lines that the steps name."""
    return {line for step in steps for part in parts_of(step) for line in range(part.first, part.last + 1)}


def _step(index: int, step: StepLines, parents: Sequence[int], trace_lines: Sequence[str], fold_lines: int) -> Step:
    plan, execution, comment = (_text(part, trace_lines) for part in (step.plan, step.execution, step.comment))
    kept = tuple(dict.fromkeys(parents))
    runs = step.execution is not None and len(step.execution) > fold_lines and bool(execution)
    instruction = (" ".join(step.instruction.split()) or plan_instruction(plan)) if runs else ""
    if not instruction:
        return Step(index, _join(plan, execution, comment), parents=kept)
    return Step(index, "" if says_no_more(plan, instruction) else plan, execution, instruction, kept, comment)


def coverage(annotation: Annotation, trace_lines: Sequence[str]) -> float:
    """Share of the lines with text that stand in a step, 0 to 1."""
    named = lines_of(*annotation.steps)
    with_text = [number for number, line in enumerate(trace_lines, 1) if line.strip()]
    return sum(number in named for number in with_text) / len(with_text) if with_text else 0.0


def _text(part: LineRange | None, trace_lines: Sequence[str]) -> str:
    return "".join(trace_lines[part.first - 1 : part.last]).strip() if part is not None else ""


def _join(*texts: str) -> str:
    return "\n".join(text for text in texts if text)


# --- as text ---------------------------------------------------------------------------------------------------------


def dumps(annotation: Annotation) -> str:
    """The annotation as one line of JSON: `{"steps": [{"plan": [1, 2], …}, …], "parents": [[], [1], …]}`."""
    steps = [_named(step) for step in annotation.steps]
    return json.dumps({"steps": steps, "parents": annotation.parents}, ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Annotation:
    """The inverse of `dumps`."""
    value = json.loads(text)
    steps = tuple(
        StepLines(_range(step, "plan"), _range(step, "execution"), step.get("instruction", ""), _range(step, "comment"))
        for step in value["steps"]
    )
    return Annotation(steps, tuple(map(tuple, value["parents"])))


def _named(step: StepLines) -> dict[str, Any]:
    ranges = {name: getattr(step, name) for name in ("plan", "execution", "comment")}
    found: dict[str, Any] = {name: [part.first, part.last] for name, part in ranges.items() if part is not None}
    return found | ({"instruction": step.instruction} if step.instruction else {})


def _range(step: dict[str, Any], name: str) -> LineRange | None:
    return LineRange(*step[name]) if name in step else None
