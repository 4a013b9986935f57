"""What a format makes of an output: its counters and its structure. It knows no format, tokenizer or grader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.errors import InputError
from sprint.usage import RoundCounts, Usage, barrier_tokens, paper_sequential_tokens, pipelined_tokens


class MalformedOutput(InputError):
    """An output that does not follow its format."""


@dataclass(frozen=True, slots=True)
class Written:
    """An output, read.

    usage    what is known of it: tokens only, neither calls nor clocks
    final    the text after everything else, which should hold the answer
    """

    usage: Usage
    final: str


def counted(
    rounds: Sequence[RoundCounts],
    final_tokens: int,
    generated: int,
    *,
    join: int,
    code: int | None,
    num_executions: int,
) -> Usage:
    """The usage of rounds. `generated` counts the whole text; `join` the branches' tokens, which are read again."""
    return Usage(
        paper_sequential_tokens=paper_sequential_tokens(rounds),
        code_sequential_tokens=code,
        pipelined_tokens=pipelined_tokens(rounds, final_tokens),
        barrier_tokens=barrier_tokens(rounds, final_tokens),
        generated_tokens=generated,
        cached_prompt_tokens=None,
        join_prefill_tokens=join,
        num_rounds=len(rounds),
        num_executions=num_executions,
    )


def sequential(generated: int) -> Usage:
    """The usage of a text written from end to end; what came from a cache is not known."""
    return Usage.sequential(generated, cached_prompt_tokens=None)
