"""What scripted models say, whatever they are asked."""

from __future__ import annotations

import re

from sprint.tags import prompt

PLAN = f"Two things.\n{prompt(1, 1, 'add 1 and 1')}\n{prompt(1, 2, 'add 2 and 2')}\nThen compare."
_EXECUTOR = re.compile(r"<execution_(\d+)\.(\d+)>\n\Z")


def always_answering(context: str) -> str:
    """One round of two executions and an answer, in any context and under any options."""
    executor = _EXECUTOR.search(context)
    if executor:
        return f"{executor[2]}\n</execution_{executor[1]}.{executor[2]}>"
    if context.endswith("<Final_answer>\n"):
        return "The larger is \\boxed{4}.\n</Final_answer>"
    if "<Execution_1>" in context:
        return "<Final_answer>\nThe larger is \\boxed{4}.\n</Final_answer>"
    return f"<Plan_1>\n{PLAN}\n</Plan_1>" if "<Plan_1>" not in context else f"{PLAN}\n</Plan_1>"
