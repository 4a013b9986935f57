"""One row of teacher data in, one curated row out: kept with both training texts, or dropped with the reason.

Pure functions on plain data: no files, no Ray. Every row leaves exactly once (`curate_row` never raises on data). The
order of the checks is the order of `_checks`; the first that fails is the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sprint import annotate, answers, lines, render, rounds, tags
from sprint.annotate import Annotator, UnusableAnnotation
from sprint.rows import MalformedRow, digest, id_or_empty, read_trace, writable
from sprint.types import DropReason, Step, Trace, Trajectory

_HEADING = re.compile(r"\s*(?:\*\*|#+ *)?final answer(?:\*\*)?:?(?:\*\*)?:?\s*", re.I)


@dataclass(frozen=True, slots=True)
class CurationOptions:
    """What is kept. The defaults are the paper's released settings (A.2): folding, ratio and rounds."""

    require_gold: bool = True
    fold_lines: int = annotate.FOLD_LINES
    min_ratio: float = 1.5
    max_rounds: int = 11
    max_prompts: int = 16
    max_chars: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curated:
    """What became of one row. `reason` is None exactly when it is kept; the texts are empty when it is dropped."""

    id: str
    question: str = ""
    answer: str = ""
    reason: DropReason | None = None
    detail: str = ""
    digest: str = ""
    reasoning: str = ""
    sprint_text: str = ""
    rft_text: str = ""
    num_lines: int = 0
    num_steps: int = 0
    num_rounds: int = 0
    num_executions: int = 0
    ratio: float = 0.0

    @property
    def is_kept(self) -> bool:
        return self.reason is None


class _Dropped(Exception):
    """Ends the curation of one row; never leaves this file."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def curate_row(row: Mapping[str, Any], annotator: Annotator, options: CurationOptions) -> Curated:
    """What becomes of one row."""
    try:
        trace = read_trace(row, options.columns)
    except MalformedRow as error:
        return malformed(id_or_empty(row, options.columns), str(error))
    try:
        _check(trace, options)
        return _curate(trace, annotator, options)
    except _Dropped as dropped:
        return _drop(trace, dropped.reason, dropped.detail)


def malformed(id: str, detail: str) -> Curated:
    """A row that could not be read at all."""
    return Curated(writable(id), reason=DropReason.MALFORMED_ROW, detail=writable(detail))


# --- checking --------------------------------------------------------------------------------------------------------


def _check(trace: Trace, options: CurationOptions) -> None:
    """Drops a trace that teaches nothing, before any work is spent on it."""
    if not trace.question or not trace.reasoning:
        raise _Dropped(DropReason.EMPTY_TRACE, f"the {'reasoning' if trace.question else 'question'} is empty")
    if not trace.closed:
        raise _Dropped(DropReason.UNCLOSED_THOUGHT)
    if any(tags.contains_tag(text) for text in (trace.question, trace.reasoning, trace.response)):
        raise _Dropped(DropReason.TAG_IN_TRACE)
    if options.max_chars is not None and len(trace.reasoning) > options.max_chars:
        raise _Dropped(DropReason.TOO_LONG, f"{len(trace.reasoning)} characters of at most {options.max_chars}")
    _check_answer(trace, options)


def _check_answer(trace: Trace, options: CurationOptions) -> None:
    given = answers.last_boxed(trace.response) or answers.last_boxed(trace.reasoning)
    if not given:
        raise _Dropped(DropReason.NO_ANSWER, "no boxed answer")
    if not trace.answer and options.require_gold:
        raise _Dropped(DropReason.MALFORMED_ROW, "no gold answer to check against")
    if trace.answer and not answers.same_answer(trace.answer, given):
        raise _Dropped(DropReason.WRONG_ANSWER, f"answered {given[:80]!r}, expected {trace.answer[:80]!r}")


# --- curating --------------------------------------------------------------------------------------------------------


def _curate(trace: Trace, annotator: Annotator, options: CurationOptions) -> Curated:
    body, final = body_of(trace), final_answer(trace)
    trace_lines = lines.split(body)
    try:
        annotation = annotator.annotate(trace.question, trace_lines)
        steps = annotate.steps_of(annotation, trace_lines, options.fold_lines)
    except UnusableAnnotation as error:
        raise _Dropped(error.reason, str(error)) from None
    trajectory = rounds.pack(steps, final)
    reason, detail = _verdict(steps, trajectory, options)
    return Curated(
        trace.id,
        trace.question,
        trace.answer or answers.last_boxed(final) or "",
        reason,
        detail,
        digest(trace),
        body,
        "" if reason else render.trajectory_text(trajectory),
        "" if reason else f"<think>\n{body}\n\n{final}\n</think>",
        len(trace_lines),
        len(steps),
        len(trajectory.rounds),
        sum(len(round.executions) for round in trajectory.rounds),
        rounds.ratio(steps),
    )


def _verdict(
    steps: tuple[Step, ...], trajectory: Trajectory, options: CurationOptions
) -> tuple[DropReason | None, str]:
    """Whether the trajectory is parallel enough and small enough (paper §3.2(4), A.2)."""
    ratio, num_rounds = rounds.ratio(steps), len(trajectory.rounds)
    widest = max(len(round.executions) for round in trajectory.rounds)
    if num_rounds > options.max_rounds:
        return DropReason.TOO_MANY_ROUNDS, f"{num_rounds} rounds of at most {options.max_rounds}"
    if widest > options.max_prompts:
        return DropReason.TOO_MANY_PROMPTS, f"{widest} prompts in one round of at most {options.max_prompts}"
    if ratio < options.min_ratio:
        return DropReason.LOW_RATIO, f"ratio {ratio:.2f} of at least {options.min_ratio}"
    return None, ""


def final_answer(trace: Trace) -> str:
    """The sentence that gives the answer: the response's, or the reasoning's, or one made from the gold answer."""
    for text in (trace.response, trace.reasoning):
        sentence = _HEADING.sub("", answers.final_sentence(text), count=1).strip()
        if sentence:
            return sentence
    return f"The final answer is {answers.boxed(trace.answer)}."


def body_of(trace: Trace) -> str:
    """The reasoning without a closing sentence that boxes the answer: the final answer says it."""
    sentence = answers.final_sentence(trace.reasoning)
    if not sentence or not trace.reasoning.endswith(sentence):
        return trace.reasoning
    body = trace.reasoning.removesuffix(sentence).rstrip()
    head, _, last = body.rpartition("\n")
    return head.rstrip() if _HEADING.fullmatch(last) else body


def _drop(trace: Trace, reason: DropReason, detail: str) -> Curated:
    return Curated(trace.id, trace.question, trace.answer, reason, writable(detail), digest(trace))
