"""The annotator that needs no model: steps by discourse markers and paragraph shape, parents by quantities and results.

It knows nothing of any task: a step opens where the text says what to do next, and depends on the steps whose results
it uses. What it cannot resolve hangs on the step before it, which is always safe and never parallel. It reads each
line a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sprint import discourse
from sprint.annotate import FOLD_LINES, UnusableAnnotation
from sprint.discourse import Opening
from sprint.lines import ends_line, ends_paragraph
from sprint.quantities import Quantities, Reader
from sprint.types import Annotation, DropReason, LineRange, StepLines

_SETTLED = 4  # lines a step holds before a sentence inside a paragraph may open the next one
_LONG = 20  # … and lines after which even a conclusion does
_PLAN_LINES = 3


@dataclass
class _Draft:
    """A step being gathered: its lines from `first` (1-based), how it opens, and how many of them only plan."""

    first: int
    opening: Opening
    plan: int = 0
    lines: list[str] = field(default_factory=list)

    def step(self) -> StepLines:
        """The line ranges. What a thought opens with before its first move is the planner's own."""
        end = self.first + len(self.lines)
        preamble = self.first == 1 and discourse.states_the_problem(self.lines[0])
        split = end if preamble else self.first + self.plan
        plan = LineRange(self.first, split - 1) if split > self.first else None
        return StepLines(plan, LineRange(split, end - 1) if split < end else None)


class RulesAnnotator:
    """Annotates traces by rules. Stateless; implements `annotate.Annotator`."""

    def annotate(self, question: str, trace_lines: Sequence[str]) -> Annotation:
        """Every line of the trace stands in exactly one step. Raises UnusableAnnotation for a trace without text."""
        if not any(line.strip() for line in trace_lines):
            raise UnusableAnnotation("the trace has no text", DropReason.ANNOTATION_FAILED)
        drafts = _gather(trace_lines)
        return Annotation(tuple(draft.step() for draft in drafts), _parents(question, drafts))


# --- steps -----------------------------------------------------------------------------------------------------------


def _gather(trace_lines: Sequence[str]) -> list[_Draft]:
    """The lines, gathered into steps."""
    drafts: list[_Draft] = []
    for number, line in enumerate(trace_lines, 1):
        before = trace_lines[number - 2] if number > 1 else "\n\n"
        opening = discourse.opening(line)
        if not drafts or _opens(opening, before, drafts[-1]):
            lead = _lead_in(drafts[-1], before) if drafts else []
            drafts.append(_Draft(number - len(lead), opening, len(lead), lead))
        _take(drafts[-1], line, opening)
    return drafts


def _lead_in(current: _Draft, before: str) -> list[str]:
    """Takes "Wait, but hold on a moment." off the end of a step where the next step opens in the same paragraph."""
    doing = len(current.lines) - current.plan
    if doing < 2 or ends_paragraph(before) or discourse.opening(before) is not Opening.RETURN:
        return []
    return [current.lines.pop()]


def _opens(opening: Opening, before: str, current: _Draft) -> bool:
    """Whether a line opens a step, given the line before it and the step being gathered."""
    if opening is Opening.NONE:
        return False
    doing = len(current.lines) - current.plan
    if opening is Opening.HEADING:
        return ends_line(before) and doing > 0
    if opening is Opening.RETURN:
        return ends_paragraph(before) and doing > _SETTLED
    if opening is Opening.RESULT:
        return ends_paragraph(before) and doing > _LONG
    if opening is Opening.CHECK and ends_paragraph(before):
        return True
    if opening in (Opening.TASK, Opening.CHECK):
        return doing > 0 and (ends_line(before) or doing >= _SETTLED)
    return False


def _take(draft: _Draft, line: str, opening: Opening) -> None:
    """Adds a line to a step; the lines at its head that say what to do are its plan."""
    planning = len(draft.lines) == draft.plan < _PLAN_LINES
    first = not draft.lines and opening not in (Opening.RETURN, Opening.RESULT)
    if planning and (first or opening in (Opening.TASK, Opening.CHECK)):
        draft.plan += 1
    draft.lines.append(line)


# --- parents ---------------------------------------------------------------------------------------------------------


def _parents(question: str, drafts: Sequence[_Draft]) -> tuple[tuple[int, ...], ...]:
    """For each step, the latest producers of what it uses, in the order of use."""
    reader = Reader(question)
    producers: dict[tuple[str, str], int] = {}
    parents: list[tuple[int, ...]] = []
    for index, draft in enumerate(drafts, 1):
        found = reader.read(draft.lines, afresh=draft.opening is Opening.CHECK)
        resolved = [producers[key] for key in found.used if key in producers]
        parents.append(tuple(dict.fromkeys(resolved + _previous(index, draft, found, bool(resolved)))))
        producers |= dict.fromkeys(found.produced, index)
    return tuple(parents)


def _previous(index: int, draft: _Draft, found: Quantities, resolved: bool) -> list[int]:
    """The step before, where a step hangs on it: it takes it up in words, or names nothing that says otherwise."""
    if index == 1:
        return []
    head = " ".join(draft.lines[: max(draft.plan, 1)])
    silent = not resolved and not found.mentions
    if draft.opening is Opening.CHECK:
        # One too short to be run by itself is a remark on what was just said.
        return [index - 1] if silent or len(draft.lines) - draft.plan <= FOLD_LINES else []
    loose = not resolved and found.loose
    hangs = discourse.takes_up(head) or discourse.points_back(head)
    return [index - 1] if hangs or silent or loose else []
