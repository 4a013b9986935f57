"""One row of a run, found by its id and shown from the raw trace to its rounds, in the terminal or on a page.

Reads the record in bounded memory: ids first, then the one row. Knows where rows lie and what a terminal shows.
"""

from __future__ import annotations

import difflib
import heapq
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.record import manifest, parts
from pipelines.record.parts import Place
from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from pipelines.views.config import InspectConfig
from pipelines.views.facts import facts, verdict
from pipelines.views.inspect_page import row_html
from pipelines.views.rowview import LineView, Role, RowView, StepView, view
from sprint.errors import InputError
from sprint.files import write_text
from sprint.printable import escaped, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")
_STYLES = {Role.PLAN: "bold", Role.EXECUTION: "", Role.COMMENT: "italic", Role.NONE: "dim"}
_MOST_NAMED = 5


def inspect(config: InspectConfig) -> Recorded:
    """Shows the row that `config.id` names, and returns it.

    Raises InputError when the run has no record, or no row or several rows answer to the id.
    """
    store = Store(config.run)
    recorded = parts.recorded(store, find(store, config.id))
    opened = view(recorded.row, manifest.fold_lines(manifest.load_if_any(store)))
    if config.html is not None:
        write_text(config.html, row_html(recorded, opened))
    if config.as_json:
        print(escaped(json.dumps(as_values(recorded), ensure_ascii=False, indent=2)))
    else:
        show(recorded, opened)
        if config.html is not None:
            print(f"written to {config.html}")
    return recorded


# --- finding ---------------------------------------------------------------------------------------------------------


def find(store: Store, wanted: str) -> Place:
    """Where the row with this id lies; `#12` is the row at position 12, and the unique beginning of an id will do."""
    column = "position" if wanted.startswith("#") and wanted[1:].isdigit() else "id"
    value: Any = int(wanted[1:]) if column == "position" else wanted
    begins: dict[str, Place] = {}
    for place, values in parts.rows(store, [column]):
        if values[column] == value:
            return place
        if column == "id" and values["id"].startswith(wanted) and len(begins) <= _MOST_NAMED:
            begins.setdefault(values["id"], place)
    if len(begins) == 1:
        return next(iter(begins.values()))
    raise InputError(_not_found(store, wanted, list(begins)), field="id")


def _not_found(store: Store, wanted: str, begins: list[str]) -> str:
    if begins:
        more = ", …" if len(begins) > _MOST_NAMED else ""
        return f"several ids in {store.name} begin with {wanted!r}: {', '.join(begins[:_MOST_NAMED])}{more}"
    near = [] if wanted.startswith("#") else _near(store, wanted)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{store.name} has no row {wanted!r}{hint}"


def _near(store: Store, wanted: str) -> list[str]:
    """The ids that look most like the one that was asked for."""
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
    best: list[tuple[float, str]] = []
    for _, values in parts.rows(store, ["id"]):
        matcher.set_seq1(values["id"])
        if matcher.real_quick_ratio() < 0.6 or matcher.quick_ratio() < 0.6 or (score := matcher.ratio()) < 0.6:
            continue
        best = heapq.nlargest(3, {*best, (score, values["id"])})
    return [id for _, id in best]


def as_values(recorded: Recorded) -> dict[str, Any]:
    """The row for programs: every column of the record, annotation and replies as JSON values."""
    from pipelines.record.rows import to_table

    values: dict[str, Any] = to_table([recorded]).to_pylist()[0]
    for name in ("annotation", "exchanges"):
        values[name] = json.loads(values[name]) if values[name] else None
    return values


# --- showing ---------------------------------------------------------------------------------------------------------


def show(recorded: Recorded, opened: RowView, console: Console | None = None) -> None:
    """The row in the terminal."""
    from rich.console import Console

    out, row = console or Console(highlight=False), recorded.row
    colour = "green" if row.is_kept else "red"
    heading = ((row.id or "(no id)", "bold"), ("  ", ""), (verdict(row), colour), ("  ", ""), (row.detail, "dim"))
    out.print(_joined(*heading), soft_wrap=True)
    for name, value in facts(recorded):
        out.print(_joined((f"{name:>12}  ", "dim"), (value, "")))
    for title, lines in _sections(row.question, opened):
        out.rule(title, align="left", style="dim")
        for line in lines:
            out.print(line)
    if opened.problem:
        out.print(_text(f"There are no rounds: {opened.problem}.", "yellow"))


def _sections(question: str, opened: RowView) -> Iterator[tuple[str, list[Any]]]:
    if question:
        yield "question", [_text(question)]
    if opened.lines:
        yield "trace", [_trace(opened)]
    if opened.steps:
        yield "steps", [_steps(opened)]
        yield "graph", list(_graph(opened))
    for number, round in enumerate(opened.rounds, 1):
        texts = [_text(round.plan, _colour(number)) if round.plan else _text("(no plan)", "dim")]
        for k, execution in enumerate(round.executions, 1):
            texts += [_text(f"▸ execution {number}.{k}", f"bold {_colour(number)}"), _text(execution.text)]
        yield f"round {number}", texts
    if opened.final_answer:
        yield "final answer", [_text(opened.final_answer)]


def _colour(round: int) -> str:
    return _COLOURS[(round - 1) % len(_COLOURS)] if round else ""


def _trace(opened: RowView) -> Table:
    """The lines: number, the step that opens, what the line does in it, text."""
    table = _grid("right", "left", "left", "left")
    before: LineView | None = None
    for line in opened.lines:
        new = before is None or before.step != line.step
        step = f"S{line.step}" if line.step and new else ""
        role = str(line.role) or "–"
        colour = _colour(opened.round_of(line))
        role = "" if before is not None and not new and before.role is line.role else role
        table.add_row(
            *_texts((str(line.number), "dim"), (step, f"bold {colour}"), (role, colour)),
            *_texts((line.text.strip(), _STYLES[line.role])),
        )
        before = line
    return table


def _steps(opened: RowView) -> Table:
    table = _grid("left", "left", "left", "left", "left")
    table.add_row(*_texts(*((name, "dim") for name in ("step", "round", "parents", "lines", "instruction"))))
    for step in opened.steps:
        words = step.instruction if step.prompt else "planner's own" + (" (short execution)" if step.folded else "")
        cells = (f"S{step.index}", f"bold {_colour(step.round)}"), (step.name or str(step.round), "")
        table.add_row(
            *_texts(*cells, (_parents(step), ""), (_ranges(step), "dim"), (words, "" if step.prompt else "dim"))
        )
    return table


def _parents(step: StepView) -> str:
    return " ".join(f"S{parent}" + ("*" if parent in step.added else "") for parent in step.parents) or "–"


def _ranges(step: StepView) -> str:
    named = (("plan", step.lines.plan), ("do", step.lines.execution), ("comment", step.lines.comment))
    return "  ".join(f"{name} {part.first}-{part.last}" for name, part in named if part is not None)


def _graph(opened: RowView) -> Iterator[Any]:
    """Rounds below each other, in each its steps with what they wait for; executed ones stand in brackets."""
    from rich.text import Text

    for number in range(1, len(opened.rounds) + 1):
        line = Text(f"round {number}  ", "dim")
        for at, step in enumerate(step for step in opened.steps if step.round == number):
            name = f"[S{step.index} {step.name}]" if step.prompt else f"S{step.index}"
            line.append("   " if at else "").append(name, f"bold {_colour(number)}" if step.prompt else "")
            line.append(f" ← {_parents(step)}" if step.parents else "", "dim")
        yield line
    if any(step.added for step in opened.steps):
        yield Text("* added: the execution used what its sibling produced", "dim")


def _grid(*justify: Any) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 1, 0, 0))
    for side in justify[:-1]:
        table.add_column(justify=side, no_wrap=True)
    table.add_column(justify=justify[-1], overflow="fold")
    return table


def _texts(*styled: tuple[str, str]) -> list[Any]:
    return [_text(*pair) for pair in styled]


def _joined(*styled: tuple[str, str]) -> Any:
    from rich.text import Text

    return Text.assemble(*_texts(*styled))


def _text(text: str, style: str = "") -> Any:
    """Text for the terminal: what stands in data may look like anything, and steers nothing."""
    from rich.text import Text

    return Text(printable(text), style)
