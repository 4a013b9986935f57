"""What annotating costs in tokens, as a share of the traces': replies in our grammar, and prompts.

    python -m benchmarks.annotation [--traces FILE ...] [--published FILE] [--tokenizer FILE]

The replies are those that would give the rules annotator's annotations, in lines and in JSON, with an instruction for
each longer execution without a plan. Without files the traces are generated and the tokenizer counts bytes.
`--published` takes annotations by line ranges with a description and a prompt for each component, and rewrites them
too: with all prompts, and without those that a plan makes unnecessary. Prints tables; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from sprint import lines, questions
from sprint.annotate import FOLD_LINES
from sprint.curate import body_of
from sprint.replies import encode, parse_parents, parse_steps
from sprint.rows import read_trace
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.tokenizer import Tokenizer, load_tokenizer
from sprint.types import Annotation, StepLines

ASKED = "calculate what is needed here from the above"  # stands for an instruction that a model would write
_TEXT = re.compile(r"<(?:plan|execution|comment)>\n(.*?)\n</", re.S)


@dataclass(frozen=True)
class Sample:
    """A trace with its annotation. `prompts`: what all traces share, the first question, the second (characters)."""

    text: str
    annotation: Annotation
    num_lines: int
    prompts: tuple[str, str, str] = ("", "", "")


def annotated(rows: Sequence[dict[str, Any]]) -> list[Sample]:
    return [_annotated(row) for row in rows]


def _annotated(row: dict[str, Any]) -> Sample:
    trace = read_trace(row)
    trace_lines = lines.split(body_of(trace))
    found = RulesAnnotator().annotate(trace.question, trace_lines)
    steps = tuple(replace(step, instruction="" if _is_told(step) else ASKED) for step in found.steps)
    first = questions.ask_steps(trace.question, trace_lines, FOLD_LINES)
    second = questions.ask_parents(first, steps, len(trace_lines))
    prompts = first[0].content, first[1].content, second[-1].content
    return Sample("".join(trace_lines), Annotation(steps, found.parents), len(trace_lines), prompts)


def _is_told(step: StepLines) -> bool:
    """Whether the executor needs no further instruction: a plan says it, or the planner does the step itself."""
    return step.plan is not None or step.execution is None or len(step.execution) <= FOLD_LINES


def published(row: dict[str, Any]) -> Sample:
    """The components that a published annotation names, as they are written, and the text they stand for."""
    num_lines = max(map(int, re.findall(r"\d+", row["component_separation"])))
    steps = parse_steps(row["component_separation"], num_lines, strict=False)
    parents = parse_parents(json.dumps(row["dag"]), len(steps))
    text = "\n".join(part for part in _TEXT.findall(row["component_inline"]) if part != "None")
    return Sample(text, Annotation(steps, parents), num_lines)


def without_prompts(sample: Sample) -> Sample:
    steps = tuple(replace(step, instruction="") if _is_told(step) else step for step in sample.annotation.steps)
    return replace(sample, annotation=replace(sample.annotation, steps=steps))


def shares(name: str, written: Sequence[str], samples: Sequence[Sample], tokenizer: Tokenizer) -> tuple[str, ...]:
    """Tokens written per token of the trace: over all, at the median, at worst."""
    spent = [len(tokenizer.encode(text)) for text in written]
    traces = [len(tokenizer.encode(sample.text)) for sample in samples]
    each = [a / b for a, b in zip(spent, traces, strict=True)]
    return name, *(f"{value:.1%}" for value in (sum(spent) / sum(traces), median(each), max(each)))


def replies(samples: Sequence[Sample], tokenizer: Tokenizer) -> Iterator[tuple[str, ...]]:
    for form in ("lines", "JSON"):
        pairs = [encode(sample.annotation, sample.num_lines, structured=form == "JSON") for sample in samples]
        for name, written in (
            ("steps", [steps for steps, _ in pairs]),
            ("parents", [parents for _, parents in pairs]),
            ("both", [f"{steps}\n{parents}" for steps, parents in pairs]),
        ):
            yield shares(f"{form}: {name}", written, samples, tokenizer)


def prompts(samples: Sequence[Sample], tokenizer: Tokenizer) -> Iterator[tuple[str, ...]]:
    for place, name in enumerate(("prompt: shared by all traces", "prompt: steps, new", "prompt: parents, new")):
        yield shares(name, [sample.prompts[place] for sample in samples], samples, tokenizer)


def show(title: str, samples: Sequence[Sample], sections: Sequence[Iterator[tuple[str, ...]]]) -> None:
    num_steps = sum(len(sample.annotation.steps) for sample in samples) / len(samples)
    table = Table("share of the trace", "overall", "median", "worst", title=f"{title}, {num_steps:.1f} steps a trace")
    for section in sections:
        for row in section:
            table.add_row(*row)
        table.add_section()
    Console().print(table)


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def generated(count: int = 50) -> list[dict[str, Any]]:
    task = get_task("chains")
    traces = map(task.teach, islice(task.problems(Split.TRAIN), count))
    return [{"id": trace.id, "question": trace.question, "reasoning": trace.reasoning} for trace in traces]


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens that annotating costs, as a share of the traces'.")
    parser.add_argument("--traces", type=Path, nargs="+", default=[])
    parser.add_argument("--published", type=Path)
    parser.add_argument("--tokenizer", default="bytes")
    given = parser.parse_args()
    tokenizer = load_tokenizer(given.tokenizer)
    samples = annotated(read(given.traces) or generated())
    title = f"{len(samples)} traces by rules"
    show(title, samples, [replies(samples, tokenizer), prompts(samples, tokenizer)])
    if given.published:
        rows = read([given.published])
        theirs = [published(row) for row in rows]
        as_given = shares("as published: steps", [row["component_separation"] for row in rows], theirs, tokenizer)
        short = [without_prompts(sample) for sample in theirs]
        show("published, all prompts", theirs, [iter([as_given]), replies(theirs, tokenizer)])
        show("published, needed prompts", short, [replies(short, tokenizer)])


if __name__ == "__main__":
    main()
