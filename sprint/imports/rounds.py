"""Outputs of the SPRINT form: plans and executions in numbered tags, then a final answer (paper B.1).

Counted by the paper's formula and by that of the authors' code (`sprint.published`), and as this project counts, tags
included. It knows the tags and no other form.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sprint.imports.written import MalformedOutput, Written, counted
from sprint.published import BLOCK_END, EXECUTION_END, Encode, cut_after, published_counts
from sprint.tags import PROMPT_CLOSING
from sprint.usage import RoundCounts

_OUTER = re.compile(r"</?Execution_\d+>")


def read_rounds(text: str, encode: Encode) -> Written:
    """One output. Raises MalformedOutput where a plan and its executions do not match."""
    counts = published_counts(text, encode)
    *blocks, final = cut_after(text, BLOCK_END)
    if not counts.countable or len(blocks) % 2:
        raise MalformedOutput("a plan and its executions do not match")
    rounds = [_round(plan, execution, encode) for plan, execution in zip(blocks[::2], blocks[1::2], strict=True)]
    executed = sum(sum(found.execution_tokens) for found in rounds)
    usage = counted(
        rounds,
        len(encode(final)),
        counts.generated_raw,
        join=executed,
        code=counts.code_formula,
        num_executions=sum(len(found.execution_tokens) for found in rounds),
    )
    # The paper's formula by the authors' own rules for text; ours would count the tags as well.
    return Written(replace(usage, paper_sequential_tokens=counts.paper_formula), final)


def _round(plan: str, execution: str, encode: Encode) -> RoundCounts:
    ends = [match.end() for match in PROMPT_CLOSING.finditer(plan)]
    bodies = [
        body for body in cut_after(_OUTER.sub("", execution).strip(), EXECUTION_END) if EXECUTION_END.search(body)
    ]
    if len(bodies) != len(ends):
        raise MalformedOutput("a round has other executions than prompts")
    return RoundCounts(
        plan_tokens=len(encode(plan.strip())),
        prefix_tokens=tuple(len(encode(plan[:end].strip())) for end in ends),
        execution_tokens=tuple(len(encode(body.strip())) for body in bodies),
    )
