"""Made-up evaluation results for the report's tests: two methods on the same problems, and whatever a test changes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from sprint.config import validate
from sprint.evals.config import ReportConfig
from sprint.evals.page import markdown
from sprint.evals.report import make_report
from sprint.evals.results import Result
from sprint.evals.runs import Run
from sprint.files import write_jsonl
from sprint.tasks import Grade
from sprint.usage import Usage

WRITTEN = """<think>
<Plan_1>
Two <b>ways</b>.
<prompt_1.1> one </prompt_1.1>
<prompt_1.2> two </prompt_1.2>
</Plan_1>

<Execution_1>
<execution_1.1>
aaaa
</execution_1.1>

<execution_1.2>
aaaaaaaaaaaaaa
</execution_1.2>
</Execution_1>

<Plan_2>
<prompt_2.1> three </prompt_2.1>
</Plan_2>

<Execution_2>
<execution_2.1>
b
</execution_2.1>
</Execution_2>

<Final_answer>
\\boxed{1}
</Final_answer>
</think>"""


def results(label: str, count: int = 20, **changes: Any) -> list[Result]:
    """`count` right answers; labelled "sprint" they have rounds, take half the tokens and say what they cached."""
    dice, parallel = random.Random(label), label == "sprint"
    made = []
    for i in range(count):
        tokens = dice.randint(50, 60) if parallel else dice.randint(100, 120)
        usage = Usage(
            pipelined_tokens=tokens, barrier_tokens=tokens, paper_sequential_tokens=tokens, generated_tokens=tokens,
            code_sequential_tokens=tokens, prompt_tokens=100, cached_prompt_tokens=80, num_executions=3 * parallel,
        )  # fmt: skip
        spans = (_span("plan", 1, 0, 20), _span("execution", 1, 1, 4), _span("execution", 1, 2, 14))
        spans = spans if parallel else (_span("sequential", 1, 0, tokens),)
        values = {
            "id": str(i), "question": "q" * (10 if i % 2 else 40), "gold": "1", "task": "chains", "label": label,
            "model": label, "method": label, "grade": Grade.CORRECT, "usage": usage, "answer": "\\boxed{1}",
            "wall_s": tokens / 100, "stop_reason": "answered",
            "timeline": spans, "reasoning": WRITTEN if parallel else "<think>\na < b\n</think>",
        }  # fmt: skip
        made.append(Result(**values | changes))
    return made


def _span(kind: str, round: int, number: int, tokens: int) -> dict[str, Any]:
    span = {"kind": kind, "round": round, "number": number, "start_s": 0.0, "end_s": 1.0}
    return span | {"generated_tokens": tokens, "outcome": "closed"}


def write(path: Path, made: list[Result]) -> Path:
    """The results as a run's file."""
    write_jsonl(path, [result.as_row() for result in made])
    return path


def wrong(result: Result, answer: str = "\\boxed{2}") -> Result:
    return replace(result, grade=Grade.WRONG_VALUE, answer=answer)


def as_run(made: list[Result]) -> Run:
    return Run((), made)


def marked(label: str, right: int, stated: int, **changes: Any) -> list[Result]:
    """60 answers, the first `right` of them right, `stated` when an answer without a box counts."""
    made = results(label, 60, grader="equivalence", **changes)
    return [
        replace(
            one,
            grade=Grade.CORRECT if place < right else Grade.NO_ANSWER,
            other_grades={"box or statement": place < stated},
        )
        for place, one in enumerate(made)
    ]


def report_text(*paths: Path, **options: Any) -> str:
    """A report's text, in which nothing is drawn."""
    return markdown(make_report(validate(ReportConfig, {"runs": paths, **options}, "options")))
