"""Curation of single rows: rows per second and core without a model, where the time goes, and how good the edges are.

    python -m benchmarks.curation [--traces FILE…] [--labelled FILE] [--evaluation FILE…]

Traces are JSONL rows as `sprint curate` reads them; without any, traces of the generated tasks are put together to
about 7 kB each, the length of an R1-type trace of a MATH problem. `--labelled` is a file of sentences with labelled
dependencies (see `benchmarks.labelled`), `--evaluation` one or more JSONL files of problems that no question may
overlap with. Ratios are measured in one run, in one process. Prints tables; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.clock import best_s
from benchmarks.labelled import edge_precision_recall, read_labelled
from sprint import annotate, answers, leaks, lines, rounds
from sprint.agreement import Matches
from sprint.contamination import Contamination
from sprint.curate import CurationOptions, Prepared, curate_row, judge, prepare
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.types import Trace

OPTIONS = CurationOptions(require_gold=False)
RULES = RulesAnnotator()
_CHARACTERS = 7_000
_ROWS = 200
Row = dict[str, Any]
Timing = tuple[str, float]


def read_rows(paths: Sequence[Path]) -> list[Row]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def made_rows() -> list[Row]:
    """Generated traces, several put together under one question until they are as long as a real one."""
    makers = [get_task("chains", num_chains=6), get_task("countdown")]
    pools = [[task.teach(problem) for problem in islice(task.problems(Split.TRAIN), 100)] for task in makers]
    rng = random.Random(0)
    return [_joined(f"made-{number}", rng, pools[number % 2]) for number in range(_ROWS)]


def _joined(id: str, rng: random.Random, pool: Sequence[Trace]) -> Row:
    parts: list[Trace] = []
    while sum(len(part.reasoning) for part in parts) < _CHARACTERS:
        parts.append(rng.choice(pool))
    reasoning = "\n\n".join(part.reasoning for part in parts)
    last = parts[-1]
    return {
        "id": id,
        "question": last.question,
        "reasoning": reasoning,
        "answer": last.answer,
        "response": last.response,
    }


def stages(rows: Sequence[Row]) -> Iterator[Timing]:
    """Seconds for all rows, stage by stage, each on what the stage before made of them."""
    yield "all", best_s(lambda: [curate_row(row, RULES, OPTIONS) for row in rows])
    yield "prepare", best_s(lambda: [prepare(row, OPTIONS) for row in rows])
    ready = [found for row in rows if isinstance(found := prepare(row, OPTIONS), Prepared)]
    yield "· answer check", best_s(lambda: [_is_right(one.trace) for one in ready])
    yield "· split into lines", best_s(lambda: [lines.split(one.body) for one in ready])
    yield "annotate", best_s(lambda: [RULES.annotate(one.trace.question, one.lines) for one in ready])
    pairs = [(one, RULES.annotate(one.trace.question, one.lines)) for one in ready]
    yield "judge", best_s(lambda: [judge(one, annotation, OPTIONS) for one, annotation in pairs])
    yield "· steps", best_s(lambda: [annotate.steps_of(annotation, one.lines) for one, annotation in pairs])
    steps = [(one.trace.question, annotate.steps_of(annotation, one.lines)) for one, annotation in pairs]
    yield "· leaks", best_s(lambda: [leaks.leaks(question, of_row) for question, of_row in steps])
    yield "· pack", best_s(lambda: [rounds.pack(of_row, "") for _, of_row in steps])


def _is_right(trace: Trace) -> bool:
    given = answers.last_boxed(trace.response) or answers.last_boxed(trace.reasoning)
    return given is not None and answers.same_answer(trace.answer, given)


def stage_table(rows: Sequence[Row]) -> Table:
    """The stages, with their share of the whole."""
    characters = sum(len(str(row.get("reasoning") or "")) for row in rows) / len(rows)
    table = Table("stage", "ms a row", "rows/s", "share", title=f"{len(rows)} rows of {characters:,.0f} characters")
    curate_row(rows[0], RULES, OPTIONS)  # the first row pays for imports
    timings = dict(stages(rows))
    for name, seconds in timings.items():
        per_row = seconds / len(rows)
        table.add_row(name, f"{per_row * 1e3:.3f}", f"{1 / per_row:,.0f}", f"{seconds / timings['all']:.0%}")
    return table


def outcome_table(rows: Sequence[Row]) -> Table:
    """What became of the rows, and how many had a leak."""
    found = [curate_row(row, RULES, OPTIONS) for row in rows]
    counts: dict[str, int] = {}
    for row in found:
        counts[row.reason or "kept"] = counts.get(row.reason or "kept", 0) + 1
    counts["with leaks mended"] = sum(row.num_added_edges > 0 for row in found)
    table = Table("outcome", "rows", "share", title="outcomes")
    for name, count in counts.items():
        table.add_row(name, str(count), f"{count / len(rows):.1%}")
    return table


def contamination_table(rows: Sequence[Row], problems: Sequence[tuple[str, str]]) -> Table:
    """Overlap with evaluation problems, at several lengths of a run."""
    texts = [str(row.get("question") or row.get("problem") or "") for row in rows]
    table = Table("words in a row", "runs", "index, s", "questions/s", "overlaps", title="contamination")
    for n in (8, 10, 13):
        index = Contamination.of(problems, n)
        seconds = best_s(lambda index=index: [index.find(text) for text in texts])  # type: ignore[misc]
        overlaps = sum(bool(index.find(text)) for text in texts)
        built = best_s(lambda n=n: Contamination.of(problems, n), 1)  # type: ignore[misc]
        table.add_row(str(n), f"{len(index.runs):,}", f"{built:.2f}", f"{len(texts) / seconds:,.0f}", str(overlaps))
    return table


def edge_table(path: Path) -> Table:
    """The edges of the rules against labels."""
    traces = read_labelled(path)
    scores = edge_precision_recall(traces, RULES)
    table = Table("edges", "labelled", "found", "precision", "recall", "F1", title=f"{len(traces)} labelled traces")
    for name, matches in (("direct", scores.direct), ("who depends on whom", scores.closure)):
        table.add_row(name, f"{matches.first:,}", f"{matches.second:,}", *_measures(matches))
    return table


def _measures(matches: Matches) -> list[str]:
    return ["–" if score is None else f"{score:.3f}" for score in (matches.precision, matches.recall, matches.f1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", nargs="+", type=Path, default=[])
    parser.add_argument("--labelled", type=Path)
    parser.add_argument("--evaluation", nargs="+", type=Path, default=[])
    given = parser.parse_args()
    rows = read_rows(given.traces) or made_rows()
    problems = [
        (f"{path.stem} row {number}", str(row.get("problem") or row.get("question") or ""))
        for path in given.evaluation
        for number, row in enumerate(read_rows([path]), 1)
    ]
    problems = problems or [(str(row["id"]), str(row["question"])) for row in made_rows()]
    console = Console()
    tables: list[Callable[[], Table]] = [lambda: stage_table(rows), lambda: outcome_table(rows)]
    tables.append(lambda: contamination_table(rows, problems))
    if given.labelled:
        tables.append(lambda: edge_table(given.labelled))
    for table in tables:
        console.print(table())


if __name__ == "__main__":
    main()
