"""Where the rows went: the drop reasons in the order of the checks, each with what it took and what it left.

Knows the checks' order and the counts; draws bars with nothing but HTML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from pipelines.views.summary import CurationSummary
from pipelines.views.words import words
from sprint.types import DropReason

# The stages that a row passes, and in each the reasons in the order in which they are looked for.
STAGES: dict[str, tuple[DropReason, ...]] = {
    "the row": (DropReason.MALFORMED_ROW, DropReason.DUPLICATE, DropReason.EMPTY_TRACE),
    "the trace": (
        DropReason.UNCLOSED_THOUGHT,
        DropReason.TAG_IN_TRACE,
        DropReason.CONTAMINATED,
        DropReason.NO_ANSWER,
        DropReason.WRONG_ANSWER,
    ),
    "the annotation": (
        DropReason.REQUEST_FAILED,
        DropReason.UNPARSED_STEPS,
        DropReason.ANNOTATION_FAILED,
        DropReason.BAD_PARENTS,
        DropReason.BAD_RANGES,
        DropReason.UNCOVERED_TEXT,
        DropReason.SIBLING_LEAK,
    ),
    "the rounds": (
        DropReason.TOO_MANY_ROUNDS,
        DropReason.TOO_MANY_PROMPTS,
        DropReason.LOW_RATIO,
        DropReason.TOO_LONG,
    ),
}
_MEANINGS = {
    DropReason.MALFORMED_ROW: "is no trace: broken, or a column is missing",
    DropReason.EMPTY_TRACE: "no question or no reasoning",
    DropReason.DUPLICATE: "repeats an earlier row",
    DropReason.UNCLOSED_THOUGHT: "the thought was never closed",
    DropReason.NO_ANSWER: "the teacher gave no answer",
    DropReason.WRONG_ANSWER: "the answer is not the gold answer",
    DropReason.TAG_IN_TRACE: "holds a tag of the protocol",
    DropReason.CONTAMINATED: "overlaps with an evaluation set",
    DropReason.REQUEST_FAILED: "the annotating model could not be asked",
    DropReason.ANNOTATION_FAILED: "the annotator gave nothing usable",
    DropReason.UNPARSED_STEPS: "the reply names no steps or no parents",
    DropReason.BAD_RANGES: "line ranges that overlap or do not exist",
    DropReason.BAD_PARENTS: "a parent that is no earlier step",
    DropReason.UNCOVERED_TEXT: "too many lines stand in no step",
    DropReason.SIBLING_LEAK: "an execution uses a sibling's result",
    DropReason.TOO_MANY_ROUNDS: "more rounds than allowed",
    DropReason.TOO_MANY_PROMPTS: "a round with more prompts than allowed",
    DropReason.LOW_RATIO: "too little is parallel",
    DropReason.TOO_LONG: "longer than allowed",
}


@dataclass(frozen=True, slots=True)
class Fall:
    """What one check took (`gone`) and what it left (`left`), in rows."""

    stage: str
    reason: DropReason
    gone: int
    left: int


def falls(summary: CurationSummary) -> Iterator[Fall]:
    """The checks that took a row, in their order."""
    left = summary.num_rows
    for stage, reasons in STAGES.items():
        for reason in reasons:
            gone = summary.dropped.get(reason, 0)
            if gone:
                left -= gone
                yield Fall(stage, reason, gone, left)


def funnel(summary: CurationSummary) -> str:
    """The table with its bars."""
    whole, rows, stage = max(summary.num_rows, 1), [], ""
    rows.append(_row("rows read", "", summary.num_rows, whole, _track("left", 0, 1), total=True))
    for fall in falls(summary):
        if fall.stage != stage:
            stage = fall.stage
            rows.append(f"<tr class='stage'><td class='name' colspan='4'>{escape(stage)}</td></tr>")
        left, gone = fall.left / whole, fall.gone / whole
        name = words(str(fall.reason))
        rows.append(_row(name, _MEANINGS[fall.reason], fall.gone, whole, _track("left", 0, left, ("gone", left, gone))))
    kept = summary.num_kept / whole
    rows.append(_row("kept", "", summary.num_kept, whole, _track("stays", 0, kept), total=True))
    head = "<tr><th class='name'>check</th><th>rows</th><th>share</th><th class='name'>left and taken</th></tr>"
    return (
        f"<div class='wide'><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>{_firsts(summary)}"
    )


def _row(name: str, meaning: str, count: int, whole: int, track: str, total: bool = False) -> str:
    small = f"<div class='fine'>{escape(meaning)}</div>" if meaning else ""
    kind = " class='total'" if total else ""
    cells = f"<td class='name'>{escape(name)}{small}</td><td>{count:,}</td><td>{count / whole:.1%}</td>"
    return f"<tr{kind}>{cells}<td class='bar'>{track}</td></tr>"


def _track(kind: str, start: float, length: float, *more: tuple[str, float, float]) -> str:
    parts = "".join(
        f"<i class='{name}' style='left:{100 * at:.2f}%;width:{100 * wide:.2f}%'></i>"
        for name, at, wide in ((kind, start, length), *more)
        if wide
    )
    return f"<div class='track'>{parts}</div>"


def _firsts(summary: CurationSummary) -> str:
    """For each reason a row to look at."""
    if not summary.first_details:
        return ""
    rows = "".join(
        f"<tr><td class='name'>{escape(words(str(reason)))}</td><td class='name'>{escape(id or '–')}</td>"
        f"<td class='why'>{escape(detail)}</td></tr>"
        for reason, (id, detail) in summary.first_details.items()
    )
    head = "<tr><th class='name'>check</th><th class='name'>row</th><th class='name'>what was wrong</th></tr>"
    table = f"<div class='wide'><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    return f"<details><summary>The first row that each check took</summary>{table}</details>"
