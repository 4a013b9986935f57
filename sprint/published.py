"""Token counts of published SPRINT outputs, as the authors' formulas count them (DESIGN §4).

For comparison with the paper only: their rule strips everything between `<` and `>` on one line before counting, tags
and inequalities alike. Our own counters are in `usage`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sprint.tags import NOTHING_TO_EXECUTE

Encode = Callable[[str], Sequence[int]]

BLOCK_END = re.compile(r"</(?:Plan|Execution)_\d+>")
_PROMPT_END = re.compile(r"</prompt_\d+\.\d+>")
EXECUTION_END = re.compile(r"</execution_\d+\.\d+>")
_OUTER_EXECUTION = re.compile(r"</?Execution_\d+>")
_ANGLE_BEFORE_EMPTY_LINE = re.compile(r"<[^\n]*?>\n\n")
_ANGLE = re.compile(r"<[^\n]*?>")


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """Tokens of one published output.

    code_formula            the authors' code; `code_formula_plan` and `code_formula_execution` split its winning path
    paper_formula           the paper's formula read literally
    generated_raw           the whole text as it stands
    countable               False where a plan and its executions do not match: then only `generated_raw` means anything
    """

    code_formula: int
    code_formula_plan: int
    code_formula_execution: int
    paper_formula: int
    countable: bool
    generated_raw: int


def published_counts(text: str, encode: Encode) -> PublishedCounts:
    """Count one output. `encode` is the tokenizer's, without special tokens."""
    pieces = _pieces(text, BLOCK_END)
    final = pieces.pop() if len(pieces) % 2 else ""
    total = plan_total = execution_total = paper = 0
    for plan, execution in zip(pieces[::2], pieces[1::2], strict=True):
        plans = [_size(segment, encode) for segment in _pieces(plan, _PROMPT_END)]
        executions = [_size(segment, encode) for segment in _execution_segments(execution)]
        if len(plans) != len(executions) + 1:
            return PublishedCounts(0, 0, 0, 0, False, len(encode(text)))
        plan_share, execution_share = _winning_path(plans, executions)
        plan_total += plan_share
        execution_total += execution_share
        paper += max((sum(plans[: k + 1]) + e for k, e in enumerate(executions)), default=0)
    plan_total += _size(final, encode)
    total = plan_total + execution_total
    return PublishedCounts(total, plan_total, execution_total, paper, True, len(encode(text)))


def _winning_path(plans: list[int], executions: list[int]) -> tuple[int, int]:
    """Plan and execution tokens of the longest path through a round; the whole plan competes with no execution."""
    paths = [(sum(plans[: k + 1]), e) for k, e in enumerate(executions)] + [(sum(plans), 0)]
    return max(paths, key=sum)


def cut_after(text: str, end: re.Pattern[str]) -> list[str]:
    """The text cut after every match of `end`, and what follows the last; together they are the text."""
    cuts = [0, *(match.end() for match in end.finditer(text)), len(text)]
    return [text[a:b] for a, b in pairwise(cuts)]


def _pieces(text: str, end: re.Pattern[str]) -> list[str]:
    return [piece.strip() for piece in cut_after(text, end)]


def _execution_segments(text: str) -> list[str]:
    body = _OUTER_EXECUTION.sub("", text).strip()
    if body == NOTHING_TO_EXECUTE:
        return []
    return [segment for segment in _pieces(body, EXECUTION_END) if segment]


def _size(segment: str, encode: Encode) -> int:
    return len(encode(_ANGLE.sub("", _ANGLE_BEFORE_EMPTY_LINE.sub("", segment))))
