"""What an executor is shown: two views of a plan, as token ids (DESIGN §3).

`prefix` is the planner's own ids up to the end of the prompt, so a prefix cache serves it and training can hold an
executor to exactly what it will see. `whole_plan` is how the authors' code asks their published checkpoint: the whole
plan, its own prompt numbered 1, those before it without their tags' text, those after it numbered on; text is encoded
anew, so only what stands before the plan comes from the cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sprint import render
from sprint.options import View
from sprint.tags import TagKind, opening, prompt
from sprint.tokenizer import Tokenizer
from sprint.turn import PlanTurn, Prompt

_PROMPT = re.compile(r"<prompt_[1-9][0-9]*\.[1-9][0-9]*>(.*?)</prompt_[1-9][0-9]*\.[1-9][0-9]*>", re.S)


def executor_context(
    view: View, tokenizer: Tokenizer, context: Sequence[int], turn: PlanTurn, number: int, prompt: Prompt
) -> tuple[list[int], int]:
    """The context of the executor of `prompt` in round `number`, and how many of its last ids the runtime wrote."""
    if view is View.PREFIX:
        header = tokenizer.encode(render.branch_opening(number, prompt.number))
        return [*context, *turn.ids[: prompt.end], *header], len(header)
    body = tokenizer.encode(render.plan_text(number, rearranged(turn.body, number, prompt.number)))
    header = tokenizer.encode(render.execution_opening(number, 1))
    return [*context, *body, *header], len(body) + len(header)


def carried_on(tokenizer: Tokenizer, context: Sequence[int], turn: PlanTurn, number: int) -> list[int]:
    """The planner's own context where the only execution of round `number` begins: just what its join will hold."""
    closing = "" if turn.closed else render.plan_closing(number)
    return [*context, *turn.ids, *tokenizer.encode(closing), *tokenizer.encode(render.execution_opening(number, 1))]


def rearranged(plan: str, number: int, chosen: int) -> str:
    """The plan as the authors show it to the executor of prompt `chosen` (counted from 1)."""
    shown = 0

    def renumbered(match: re.Match[str]) -> str:
        nonlocal shown
        shown += 1
        if shown < chosen:
            return ""
        return prompt(number, shown - chosen + 1, match[1].strip())

    return _PROMPT.sub(renumbered, plan)


def stop_string(view: View, number: int, prompt_number: int) -> str:
    """The closing tag that an executor writes in this view."""
    return f"</{opening(TagKind.EXECUTION, number, 1 if view is View.WHOLE_PLAN else prompt_number)[1:]}"
