"""One row of teacher data in, one curated row out: kept with both training texts, or dropped with the reason.

Two halves, so that an annotator may take its time in between: `prepare` does what needs no annotation, `judge` all that
does. Pure functions on plain data: no files, no Ray, no model. Every row leaves exactly once and neither half raises on
data; the first check that fails is the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sprint import annotate, answers, leaks, lines, measure, render, rounds, tags
from sprint.annotate import Annotator, UnusableAnnotation
from sprint.contamination import Contamination
from sprint.curated import Curated, CurationOptions, OnLeak, Prepared, Ratio
from sprint.measure import Count
from sprint.rows import MalformedRow, digest, id_or_empty, read_trace, writable
from sprint.types import Annotation, DropReason, Step, Trace, Trajectory

__all__ = [
    "Curated",
    "CurationOptions",
    "OnLeak",
    "Prepared",
    "Ratio",
    "annotate_and_judge",
    "body_of",
    "curate_row",
    "duplicate",
    "final_answer",
    "given_answer",
    "judge",
    "malformed",
    "prepare",
    "unusable",
]

Leaks = tuple[leaks.Leak, ...]

_HEADING = re.compile(r"(?:\*\*|#+ *)?final answer(?:\*\*)?:?(?:\*\*)?:?", re.I)
# In front of a sentence, only what is marked as a heading is one: "The final answer is 4." is a sentence.
_LEADING_HEADING = re.compile(r"(?:\*\* *final answer *:? *\*\* *:?|#+ *final answer *:?|final answer *:)\s*", re.I)


class _Dropped(Exception):
    """Ends the curation of one row; never leaves this file."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def curate_row(row: Mapping[str, Any], annotator: Annotator, options: CurationOptions) -> Curated:
    """What becomes of one row, with an annotator that answers at once."""
    prepared = prepare(row, options)
    return prepared if isinstance(prepared, Curated) else annotate_and_judge(prepared, annotator, options)


def annotate_and_judge(
    prepared: Prepared, annotator: Annotator, options: CurationOptions, count: Count = len
) -> Curated:
    """The second half, with an annotator that answers at once."""
    try:
        annotation = annotator.annotate(prepared.trace.question, prepared.lines)
    except UnusableAnnotation as error:
        return unusable(prepared, error.reason, str(error))
    return judge(prepared, annotation, options, count)


def prepare(
    row: Mapping[str, Any], options: CurationOptions, contamination: Contamination | None = None
) -> Prepared | Curated:
    """The row ready to be annotated, or what became of it before."""
    try:
        trace = read_trace(row, options.columns)
    except MalformedRow as error:
        return malformed(id_or_empty(row, options.columns), str(error))
    try:
        _check(trace, options, contamination)
    except _Dropped as dropped:
        return _curated(trace, trace.reasoning, reason=dropped.reason, detail=writable(dropped.detail))
    body = body_of(trace)
    return Prepared(trace, body, final_answer(trace), tuple(lines.split(body)))


def malformed(id: str, detail: str) -> Curated:
    """A row that could not be read at all."""
    return Curated(writable(id), reason=DropReason.MALFORMED_ROW, detail=writable(detail))


def duplicate(row: Mapping[str, Any], options: CurationOptions, of: str) -> Curated:
    """A row that can be read and repeats an earlier one, which stands at `of`."""
    trace = read_trace(row, options.columns)
    detail = f"same question and reasoning as {of}"
    return Curated(trace.id, trace.question, trace.answer, DropReason.DUPLICATE, detail, digest(trace))


def unusable(prepared: Prepared, reason: DropReason, detail: str, annotation: str = "") -> Curated:
    """A row whose annotation cannot be followed, or never came."""
    trace, count = prepared.trace, len(prepared.lines)
    row = _curated(trace, prepared.body, reason=reason, detail=writable(detail))
    return replace(row, num_lines=count, annotation=annotation)


def _curated(trace: Trace, reasoning: str, **rest: Any) -> Curated:
    answer = trace.answer or given_answer(trace)
    rest |= {"digest": digest(trace), "level": trace.level, "subject": trace.subject}
    return Curated(trace.id, trace.question, answer, reasoning=reasoning, **rest)


# --- checking --------------------------------------------------------------------------------------------------------


def _check(trace: Trace, options: CurationOptions, contamination: Contamination | None) -> None:
    """Drops a trace that teaches nothing, before any work is spent on it."""
    if not trace.question or not trace.reasoning:
        raise _Dropped(DropReason.EMPTY_TRACE, f"the {'reasoning' if trace.question else 'question'} is empty")
    if not trace.closed:
        raise _Dropped(DropReason.UNCLOSED_THOUGHT)
    if any(tags.contains_tag(text) for text in (trace.question, trace.reasoning, trace.response)):
        raise _Dropped(DropReason.TAG_IN_TRACE)
    if options.max_chars is not None and len(trace.reasoning) > options.max_chars:
        raise _Dropped(DropReason.TOO_LONG, f"{len(trace.reasoning)} characters of at most {options.max_chars}")
    if contamination and (found := contamination.find(trace.question)):
        raise _Dropped(DropReason.CONTAMINATED, f"overlaps with {found}")
    _check_answer(trace, options)


def _check_answer(trace: Trace, options: CurationOptions) -> None:
    given = given_answer(trace)
    if not given:
        raise _Dropped(DropReason.NO_ANSWER, "no boxed answer")
    if not trace.answer and options.require_gold:
        raise _Dropped(DropReason.MALFORMED_ROW, "no gold answer to check against")
    if trace.answer and not answers.same_answer(trace.answer, given):
        raise _Dropped(DropReason.WRONG_ANSWER, f"answered {given[:80]!r}, expected {trace.answer[:80]!r}")


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(prepared: Prepared, annotation: Annotation, options: CurationOptions, count: Count = len) -> Curated:
    """What becomes of an annotated trace. `count` measures a text in the unit of the run."""
    written = annotate.dumps(annotation)
    try:
        steps = annotate.steps_of(annotation, prepared.lines, options.fold_lines)
    except UnusableAnnotation as error:
        return unusable(prepared, error.reason, str(error), written)
    steps, mended, left = _mended(prepared.trace.question, steps, options.on_leak)
    trajectory = rounds.pack(steps, prepared.final)
    text = render.trajectory_text(trajectory)
    row = replace(
        _measured(prepared, steps, trajectory, count),
        annotation=written,
        coverage=annotate.coverage(annotation, prepared.lines),
        num_added_edges=len(mended),
    )
    reason, detail = _verdict(row, left, count(text) if options.max_length else 0, options)
    if reason:
        return replace(row, reason=reason, detail=writable(detail))
    return replace(row, sprint_text=text, rft_text=f"<think>\n{prepared.body}\n\n{prepared.final}\n</think>")


def _mended(question: str, steps: tuple[Step, ...], on_leak: OnLeak) -> tuple[tuple[Step, ...], Leaks, Leaks]:
    """The steps to be packed, the leaks that were mended in them, and those for which the trace is to be dropped."""
    if on_leak is OnLeak.MEND:
        return *leaks.mend(question, steps), ()
    return steps, (), leaks.leaks(question, steps) if on_leak is OnLeak.DROP else ()


def _measured(prepared: Prepared, steps: tuple[Step, ...], trajectory: Trajectory, count: Count) -> Curated:
    """The row with everything that can be counted."""
    widths = [len(round.executions) for round in trajectory.rounds]
    return _curated(
        prepared.trace,
        prepared.body,
        num_lines=len(prepared.lines),
        num_steps=len(steps),
        num_rounds=len(widths),
        num_executions=sum(widths),
        ratio=sum(widths) / len(widths),
        step_ratio=len(steps) / len(widths),
        width=max(widths),
        sequential_before=count(f"{prepared.body}\n\n{prepared.final}"),
        sequential_after=measure.sequential_length(trajectory, count),
    )


def _verdict(row: Curated, left: Leaks, length: int, options: CurationOptions) -> tuple[DropReason | None, str]:
    """Whether the annotation may be trusted, and the trajectory is parallel and small enough (paper §3.2(4), A.2)."""
    ratio = row.ratio if options.ratio is Ratio.EXECUTED else row.step_ratio
    if row.coverage < options.min_coverage:
        share = f"{row.coverage:.0%} of the lines stand in a step, of at least {options.min_coverage:.0%}"
        return DropReason.UNCOVERED_TEXT, share
    if left:
        leak = left[0]
        return DropReason.SIBLING_LEAK, f"step {leak.step} uses {leak.evidence} of step {leak.source}, its sibling"
    if row.num_rounds > options.max_rounds:
        return DropReason.TOO_MANY_ROUNDS, f"{row.num_rounds} rounds of at most {options.max_rounds}"
    if row.width > options.max_prompts:
        return DropReason.TOO_MANY_PROMPTS, f"{row.width} prompts in one round of at most {options.max_prompts}"
    if ratio < options.min_ratio:
        return DropReason.LOW_RATIO, f"ratio {ratio:.2f} of at least {options.min_ratio}"
    if options.max_length and length > options.max_length:
        return DropReason.TOO_LONG, f"a training text of {length}, of at most {options.max_length}"
    return None, ""


def given_answer(trace: Trace) -> str:
    """What the teacher boxed last: in the response, or else in the reasoning; "" for nothing."""
    return answers.last_boxed(trace.response) or answers.last_boxed(trace.reasoning) or ""


def final_answer(trace: Trace) -> str:
    """The sentence that gives the answer: the response's, or the reasoning's, or one made from the gold answer."""
    for text in (trace.response, trace.reasoning):
        sentence = answers.final_sentence(text).strip()
        heading = _LEADING_HEADING.match(sentence)
        if answer := sentence[heading.end() if heading else 0 :].strip():
            return answer
    return f"The final answer is {answers.boxed(trace.answer)}."


def body_of(trace: Trace) -> str:
    """The reasoning without a closing sentence that boxes the answer: the final answer says it."""
    sentence = answers.final_sentence(trace.reasoning)
    if not sentence or not trace.reasoning.endswith(sentence):
        return trace.reasoning
    body = trace.reasoning.removesuffix(sentence).rstrip()
    head, _, last = body.rpartition("\n")
    return head.rstrip() if _HEADING.fullmatch(last.strip()) else body
