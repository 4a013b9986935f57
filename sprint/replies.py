"""Reads what a model answers about a trace: its steps by line numbers, and the parents of each step; and writes both.

The grammar is made to be cheap: `P41 E43 C52` is a step whose plan begins at line 41, execution at 43, comment at 52.
A part runs up to the line before the next part named, unless its last line is given (`E43-51`); `> compute the sum`
at the end is an instruction. Parents are `5: 1, 3`. Both may come as JSON, and the steps as components with a line for
each part in full words, where a single number is a single line. What cannot be read is said, never guessed. It knows
nothing of prompts, and of a trace only how many lines it has.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sprint import tags
from sprint.errors import InputError
from sprint.model_text import Unreadable, json_in, reply_in
from sprint.reply_parents import read_parents
from sprint.reply_steps import Draft, Part, read_drafts
from sprint.rows import writable
from sprint.types import Annotation, DropReason, LineRange, StepLines

_LETTERS = {"plan": "P", "execution": "E", "comment": "C"}
_MOST_FAULTS = 4  # told to the model at once
_MOST_MISSING = 20  # steps that are named as missing


class ReplyError(InputError):
    """A reply that cannot be used. The message tells the model what was wrong; `reason` says in which way."""

    def __init__(self, message: str, reason: DropReason) -> None:
        super().__init__(message)
        self.reason = reason


def parse_steps(text: str, num_lines: int, *, strict: bool = True) -> tuple[StepLines, ...]:
    """The steps that a reply names, in its order, of a trace of `num_lines` lines.

    Lines that stand in no step are no fault here. Raises ReplyError: UNPARSED_STEPS where no steps can be read, and,
    when `strict`, BAD_RANGES for lines that do not exist, run backwards or are named twice, by the same rules as
    `annotate.steps_of`. Not `strict` gives the ranges as they are written.
    """
    try:
        body = reply_in(text)
        drafts = read_drafts(body, json_in(body))
    except Unreadable as error:
        raise ReplyError(f"{error}.", DropReason.UNPARSED_STEPS) from None
    if not drafts:
        raise ReplyError("no steps were found, expected one such as P1 E4 for each.", DropReason.UNPARSED_STEPS)
    _raise(_tagged(drafts), DropReason.UNPARSED_STEPS)
    _raise(_repeated(drafts), DropReason.BAD_RANGES)
    ends = _ends(drafts, num_lines)
    if strict:
        _raise(_range_faults(drafts, ends, num_lines), DropReason.BAD_RANGES)
    return tuple(_step(draft, ends_of) for draft, ends_of in _by_step(drafts, ends))


def parse_parents(text: str, num_steps: int) -> tuple[tuple[int, ...], ...]:
    """For each step the steps it needs, in the reply's order and each once. Step 1 may be left out: it has none.

    Raises ReplyError: UNPARSED_STEPS where no parents can be read, BAD_PARENTS for a step that is missing, unknown or
    given twice, or a parent that is not an earlier step.
    """
    try:
        given = read_parents(reply_in(text))
    except Unreadable as error:
        raise ReplyError(f"{error}.", DropReason.UNPARSED_STEPS) from None
    if not given and num_steps > 1:
        raise ReplyError("no parents were found, expected 2: 1 or the like for each.", DropReason.UNPARSED_STEPS)
    _raise(_parent_faults(given, num_steps), DropReason.BAD_PARENTS)
    found = dict(given)
    return tuple(tuple(dict.fromkeys(found.get(step, ()))) for step in range(1, num_steps + 1))


def encode(annotation: Annotation, num_lines: int | None = None, *, structured: bool = False) -> tuple[str, str]:
    """The replies that would give this annotation: steps and parents, as lines or (`structured`) as JSON.

    Given the `num_lines` of the trace, the last part is open when it runs to the end.
    """
    parts = [(_LETTERS[name], span) for step in annotation.steps for name, span in _spans(step)]
    after = [span.first for _, span in parts[1:]] + [num_lines + 1 if num_lines else -1]
    words = iter(_word(letter, span, until) for (letter, span), until in zip(parts, after, strict=True))
    steps = [_line([next(words) for _ in _spans(step)], step.instruction) for step in annotation.steps]
    if structured:
        return json.dumps({"steps": steps}, ensure_ascii=False), json.dumps({"parents": annotation.parents})
    return "\n".join(steps), "\n".join(_parents_line(*entry) for entry in enumerate(annotation.parents[1:], 2))


# --- writing ---------------------------------------------------------------------------------------------------------


def _spans(step: StepLines) -> list[tuple[str, LineRange]]:
    """The parts of a step by name, in the order of the trace."""
    named = ((name, getattr(step, name)) for name in _LETTERS)
    return sorted(((name, span) for name, span in named if span is not None), key=lambda item: item[1].first)


def _word(letter: str, span: LineRange, until: int) -> str:
    return f"{letter}{span.first}" if span.last == until - 1 else f"{letter}{span.first}-{span.last}"


def _line(words: list[str], instruction: str) -> str:
    said = " ".join(instruction.split())
    return " ".join(words) + (f" > {said}" if said else "")


def _parents_line(step: int, parents: Sequence[int]) -> str:
    return f"{step}: {', '.join(map(str, parents))}".rstrip()


# --- ranges ----------------------------------------------------------------------------------------------------------


def _ends(drafts: Sequence[Draft], num_lines: int) -> list[int]:
    """The last line of each part, in the reply's order: as given, or the one before the next part."""
    parts = [part for draft in drafts for part in draft.parts]
    ends = [now.last if now.last is not None else then.first - 1 for now, then in pairwise(parts)]
    return ends + [num_lines if part.last is None else part.last for part in parts[-1:]]


def _by_step(drafts: Sequence[Draft], ends: list[int]) -> Iterator[tuple[Draft, list[int]]]:
    at = 0
    for draft in drafts:
        yield draft, ends[at : at + len(draft.parts)]
        at += len(draft.parts)


def _step(draft: Draft, ends: Sequence[int]) -> StepLines:
    spans = {part.name: LineRange(part.first, last) for part, last in zip(draft.parts, ends, strict=True)}
    instruction = writable(" ".join(draft.instruction.split()))  # JSON may hold half a surrogate pair
    return StepLines(spans.get("plan"), spans.get("execution"), instruction, spans.get("comment"))


def _tagged(drafts: Sequence[Draft]) -> Iterator[str]:
    for number, draft in enumerate(drafts, 1):
        if tags.contains_tag(draft.instruction):
            yield f"the instruction of step {number} holds a tag in angle brackets, expected plain words"


def _repeated(drafts: Sequence[Draft]) -> Iterator[str]:
    for number, draft in enumerate(drafts, 1):
        for name in (name for name, times in Counter(draft.names).items() if times > 1):
            yield f"step {number} has more than one {name}, expected one run of lines"


def _range_faults(drafts: Sequence[Draft], ends: list[int], num_lines: int) -> Iterator[str]:
    """What is wrong with the ranges, one sentence for each."""
    taken: list[tuple[int, int, int]] = []  # last line, first line and step of each range, in order: they are disjoint
    for number, (draft, ends_of) in enumerate(_by_step(drafts, ends), 1):
        if not draft.parts:
            yield f"step {number} names no lines"
        for part, last in zip(draft.parts, ends_of, strict=True):
            fault = _range_fault(part, last, num_lines) or _taken_fault(part.first, last, taken)
            if fault:
                yield f"step {number}, {part.name}: {fault}"
            else:
                insort(taken, (last, part.first, number))


def _range_fault(part: Part, last: int, num_lines: int) -> str:
    if not 1 <= part.first <= num_lines:
        return f"line {part.first} does not exist, the trace has lines 1 to {num_lines}"
    if part.last is None and last < part.first:
        return f"line {part.first} comes after the part that follows it, which begins at line {last + 1}"
    if last < part.first:
        return f"lines {part.first}-{last} run backwards"
    if last > num_lines:
        return f"lines {part.first}-{last} run past the end of the trace, which has lines 1 to {num_lines}"
    return ""


def _taken_fault(first: int, last: int, taken: Sequence[tuple[int, int, int]]) -> str:
    """Whether a range shares a line with an earlier one, of which the nearest that does not end before it will tell."""
    at = bisect_left(taken, (first,))
    if at == len(taken) or taken[at][1] > last:
        return ""
    _, begins, step = taken[at]
    return f"line {max(first, begins)} stands in step {step} already, expected each line once"


# --- parents ---------------------------------------------------------------------------------------------------------


def _parent_faults(given: Sequence[tuple[int, tuple[int, ...]]], num_steps: int) -> Iterator[str]:
    times = Counter(step for step, _ in given)
    for step in times:
        if not 1 <= step <= num_steps:
            yield f"step {step} does not exist, there are steps 1 to {num_steps}"
        elif times[step] > 1:
            yield f"step {step} is given more than once"
    for step, parents in given:
        for parent in parents:
            if 1 <= step <= num_steps and not 1 <= parent < step:
                yield f"step {step} names step {parent} as a parent, expected only steps before it"
    missing = [str(step) for step in range(2, num_steps + 1) if step not in times]
    if missing:
        more = f" and {len(missing) - _MOST_MISSING} more" if len(missing) > _MOST_MISSING else ""
        yield f"the parents of step {', '.join(missing[:_MOST_MISSING])}{more} are missing"


def _raise(faults: Iterator[str], reason: DropReason) -> None:
    """Raises ReplyError naming the first few of the faults, if there are any."""
    found = list(faults)
    if found:
        more = f" (and {len(found) - _MOST_FAULTS} more)" if len(found) > _MOST_FAULTS else ""
        raise ReplyError("; ".join(found[:_MOST_FAULTS]) + f"{more}.", reason)
