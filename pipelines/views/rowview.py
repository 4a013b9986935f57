"""A recorded row laid open: its lines with their roles, its steps with their rounds, and the rounds as packed.

Made from the record alone, for whoever draws it: terminal, page or report. Knows no colours and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipelines.views.words import words
from sprint import annotate, dag, leaks, lines, rounds, tags
from sprint.annotate import FOLD_LINES, UnusableAnnotation
from sprint.curated import Curated
from sprint.types import Annotation, Round, Step, StepLines


class Role(StrEnum):
    """What a line does in its step."""

    PLAN = "plan"
    EXECUTION = "execution"
    COMMENT = "comment"
    NONE = ""  # the line stands in no step


@dataclass(frozen=True, slots=True)
class LineView:
    """One numbered line of the raw trace. `step` is 0 where it stands in none."""

    number: int
    text: str
    step: int = 0
    role: Role = Role.NONE


@dataclass(frozen=True, slots=True)
class StepView:
    """One step. `prompt` is its number among the prompts of its round, 0 where it only plans.

    `added` are the parents that the annotator did not name: they were added because of a sibling leak. `folded` says
    that the annotator named an execution that was too short to be run by itself.
    """

    index: int
    round: int
    prompt: int
    parents: tuple[int, ...]
    lines: StepLines
    instruction: str = ""
    added: frozenset[int] = frozenset()
    folded: bool = False

    @property
    def name(self) -> str:
        """As the packed text names it: `1.2` for an execution, else nothing."""
        return f"{self.round}.{self.prompt}" if self.prompt else ""

    @property
    def num_lines(self) -> int:
        return sum(len(part) for part in annotate.parts_of(self.lines))


@dataclass(frozen=True, slots=True)
class RowView:
    """`problem` says why there are no steps or rounds, where there are none."""

    lines: tuple[LineView, ...]
    steps: tuple[StepView, ...] = ()
    rounds: tuple[Round, ...] = ()
    final_answer: str = ""
    problem: str = ""

    def round_of(self, line: LineView) -> int:
        """The round of a line's step, 0 where it has none."""
        return self.steps[line.step - 1].round if 0 < line.step <= len(self.steps) else 0

    @property
    def implied(self) -> frozenset[tuple[int, int]]:
        """The (parent, step) edges that other edges imply."""
        before = dag.ancestors([step.parents for step in self.steps])
        return frozenset(
            (parent, step.index)
            for step in self.steps
            for parent in step.parents
            if any(parent in before[other - 1] for other in step.parents)
        )


def view(row: Curated, fold_lines: int = FOLD_LINES) -> RowView:
    """The row laid open. `fold_lines` is that of the run."""
    texts = lines.split(row.reasoning)
    if not row.annotation:
        problem = "" if not row.reason else f"it has no annotation ({_why(row)})"
        return RowView(_marked(texts, None), problem=problem)
    try:
        annotation = annotate.loads(row.annotation)
    except (ValueError, KeyError, TypeError):
        return RowView(_marked(texts, None), problem="its annotation is not readable")
    try:
        named = annotate.steps_of(annotation, texts, fold_lines)
    except UnusableAnnotation as error:
        return RowView(_marked(texts, annotation), problem=f"its annotation cannot be followed: {error}")
    packed = leaks.mend(row.question, named)[0] if row.num_added_edges else named
    return _opened(row, texts, annotation, named, packed)


def _why(row: Curated) -> str:
    return ", ".join(filter(None, (words(str(row.reason)), row.detail)))


def _opened(
    row: Curated, texts: Sequence[str], annotation: Annotation, named: Sequence[Step], packed: Sequence[Step]
) -> RowView:
    in_round, prompts = rounds.rounds_of(packed), rounds.prompt_ids(packed)
    steps = tuple(
        StepView(
            after.index,
            in_round[after.index],
            prompts.get(after.index, (0, 0))[1],
            after.parents,
            ranges,
            after.instruction,
            frozenset(after.parents) - set(before.parents),
            ranges.execution is not None and not after.execution,
        )
        for before, after, ranges in zip(named, packed, annotation.steps, strict=True)
    )
    trajectory = tags.parse(row.sprint_text) if row.sprint_text else rounds.pack(packed, "")
    return RowView(_marked(texts, annotation), steps, trajectory.rounds, trajectory.final_answer)


def _marked(texts: Sequence[str], annotation: Annotation | None) -> tuple[LineView, ...]:
    """The lines with the step that names them first, as far as the annotation names lines that exist."""
    found: dict[int, tuple[int, Role]] = {}
    for index, step in enumerate(annotation.steps if annotation else (), 1):
        for role, part in ((Role.PLAN, step.plan), (Role.EXECUTION, step.execution), (Role.COMMENT, step.comment)):
            if part is not None:
                for line in range(max(part.first, 1), min(part.last, len(texts)) + 1):
                    found.setdefault(line, (index, role))
    return tuple(LineView(number, text, *found.get(number, (0, Role.NONE))) for number, text in enumerate(texts, 1))
