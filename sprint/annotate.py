"""From a trace to its steps: what an annotator is, and how its line ranges become the texts of steps (paper §3.2, A.2).

An annotator never rewrites text: it names lines by number, and this file cuts the trace. Knows nothing of how an
annotator decides (`rules` is one that needs no model), nor of rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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

    The parents are those of the annotation: the graph is made before the folding. A comment is kept at the end of
    what it remarks on. Where the plan says no more than the instruction, the instruction stands for it and the plan
    is left empty. Raises UnusableAnnotation naming the step at fault.
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
        taken |= _lines_of(index, step, taken, num_lines)


def _lines_of(index: int, step: StepLines, taken: set[int], num_lines: int) -> set[int]:
    """The lines that step `index` names, each once, none of them `taken` by an earlier step."""
    own: set[int] = set()
    for part in _parts(step):
        where = f"step {index} names lines {part.first}-{part.last} of {num_lines}"
        if not 1 <= part.first <= part.last <= num_lines:
            raise UnusableAnnotation(f"{where}, which do not exist", DropReason.BAD_RANGES)
        named = set(range(part.first, part.last + 1))
        if named & (taken | own):
            raise UnusableAnnotation(f"{where}, some of which are named already", DropReason.BAD_RANGES)
        own |= named
    if not own:
        raise UnusableAnnotation(f"step {index} names no lines", DropReason.BAD_RANGES)
    return own


def _parts(step: StepLines) -> list[LineRange]:
    return [part for part in (step.plan, step.execution, step.comment) if part is not None]


def _step(index: int, step: StepLines, parents: Sequence[int], trace_lines: Sequence[str], fold_lines: int) -> Step:
    plan, execution, comment = (_text(part, trace_lines) for part in (step.plan, step.execution, step.comment))
    kept = tuple(dict.fromkeys(parents))
    instruction = " ".join(step.instruction.split()) or plan_instruction(plan)
    if step.execution is None or len(step.execution) <= fold_lines or not execution or not instruction:
        return Step(index, _join(plan, execution, comment), parents=kept)
    return Step(index, "" if says_no_more(plan, instruction) else plan, _join(execution, comment), instruction, kept)


def _text(part: LineRange | None, trace_lines: Sequence[str]) -> str:
    return "".join(trace_lines[part.first - 1 : part.last]).strip() if part else ""


def _join(*texts: str) -> str:
    return "\n".join(text for text in texts if text)
