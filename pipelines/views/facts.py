"""What is worth saying of one recorded row, as names and values in plain words. For terminal and page alike."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.record.rows import Recorded
from pipelines.views.spending import was_asked
from pipelines.views.words import words
from sprint.curated import Curated


def verdict(row: Curated) -> str:
    return "kept" if row.reason is None else f"dropped: {words(str(row.reason))}"


def counts(row: Curated) -> str:
    return f"{row.num_lines} lines, {row.num_steps} steps, {row.num_rounds} rounds, {row.num_executions} executions"


def facts(recorded: Recorded) -> Iterator[tuple[str, str]]:
    """Only what is known."""
    row = recorded.row
    yield "from", f"{recorded.where} (position {recorded.position})"
    for name, value in (("answer", row.answer), ("level", row.level), ("subject", row.subject), ("digest", row.digest)):
        if value:
            yield name, value
    if row.num_rounds:
        yield from _shape(row)
    if was_asked(row.usage):
        yield "annotation", _cost(recorded)


def _shape(row: Curated) -> Iterator[tuple[str, str]]:
    yield "shape", f"{counts(row)}, at most {row.width} in a round"
    yield "ratio", f"{row.ratio:.2f} executed steps per round, {row.step_ratio:.2f} counting all steps"
    yield "coverage", f"{row.coverage:.1%} of the lines stand in a step"
    if row.num_added_edges:
        yield "leaks", f"{row.num_added_edges} dependencies added, because an execution used a sibling's result"
    if row.sequential_before:
        left = row.sequential_after / row.sequential_before
        yield "sequential", f"{row.sequential_before:,} before, {row.sequential_after:,} after ({left:.0%})"


def _cost(recorded: Recorded) -> str:
    usage = recorded.row.usage
    cached = "" if usage.cached_tokens is None else f" ({usage.cached_tokens:,} cached)"
    extra = [
        f"{usage.num_repairs} repairs" if usage.num_repairs else "",
        f"{usage.num_failures} failed attempts" if usage.num_failures else "",
        f"{usage.prompt_tokens:,} prompt tokens{cached}",
        f"{usage.output_tokens:,} output tokens",
        f"{usage.seconds:.1f} s",
        f"cost {recorded.cost:.6f}" if recorded.cost else "",
    ]
    return ", ".join([f"{usage.num_calls} calls", *filter(None, extra)])
