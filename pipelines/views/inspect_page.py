"""One row on one page: its graph, the raw trace beside the rounds, its cost and where it came from.

No scripts: hovering a step lights it up in the graph, the trace and the rounds by style rules, and anchors link them.
Knows a recorded row and its view.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pipelines.record.rows import Recorded
from pipelines.views.facts import facts, verdict
from pipelines.views.graph import graph_svg, shown_edges
from pipelines.views.html import document, hue, raw_lines, tagged
from pipelines.views.rowview import RowView, StepView
from pipelines.views.words import words
from sprint.types import Round

_MOST_LIT = 400  # steps; beyond it a page of rules would only be slow


def row_html(recorded: Recorded, view: RowView) -> str:
    """The page."""
    row = recorded.row
    kept = " kept" if row.is_kept else ""
    label = f"<span class='verdict{kept}'>{escape(verdict(row))}</span>"
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(recorded))
    body = [
        f"<header><h1>{escape(row.id or f'row {recorded.position}')}</h1>"
        f"<p>{label} <span class='fine'>{escape(row.detail)}</span></p></header>",
        f"<pre class='question'>{escape(row.question)}</pre>" if row.question else "",
        f"<dl class='facts'>{items}</dl>",
        f"<p>There are no rounds: {escape(view.problem)}.</p>" if view.problem else "",
        _graph(view),
        _trace(view),
        _replies(recorded),
    ]
    return document(row.id or f"row {recorded.position}", body, "main{max-width:1500px}" + "".join(_lights(view)))


def _lights(view: RowView) -> Iterator[str]:
    """The rules by which a hovered step is lit up everywhere."""
    for step in view.steps[:_MOST_LIT]:
        name = f".s{step.index}"
        yield f"body:has({name}:hover) :is(.l,.box){name}{{outline:2px solid var(--accent);outline-offset:-1px}}"
        yield f"body:has({name}:hover) .node{name} rect{{stroke:var(--accent);stroke-width:3}}"
        yield f"body:has({name}:hover) .e{step.index}{{stroke:var(--accent);stroke-width:2.2;opacity:1}}"


def _graph(view: RowView) -> str:
    if not view.steps:
        return ""
    legend = (
        "Each box is a step. A solid one is run by an executor, under the number it bears in the rounds; a dashed one "
        "the planner does itself. "
    )
    num_edges, num_shown = sum(len(step.parents) for step in view.steps), len(shown_edges(view))
    left_out = f"{num_edges - num_shown} edges that others imply are left out."
    legend += left_out if num_shown < num_edges else "Faint edges are implied by others."
    if any(step.added for step in view.steps):
        legend += " Edges in orange were added, because an execution used what its sibling produced."
    return f"<h2>Steps and rounds</h2><figure class='scroll'>{graph_svg(view)}</figure><p class='fine'>{legend}</p>"


def _trace(view: RowView) -> str:
    left = raw_lines(view, anchors=True) if view.lines else "<p class='fine'>The record holds no trace of it.</p>"
    if not view.rounds:
        return f"<h2>Trace</h2>{left}"
    packed = "".join(_round(view, number, round) for number, round in enumerate(view.rounds, 1))
    final = f"<section><h3>final answer</h3><div class='box'>{escape(view.final_answer)}</div></section>"
    right = f"<div class='rounds'>{packed}{final if view.final_answer else ''}</div>"
    return f"<h2>Trace and rounds</h2><div class='pair open'><div>{left}</div><div>{right}</div></div>"


def _round(view: RowView, number: int, round: Round) -> str:
    steps = [step for step in view.steps if step.round == number]
    executed = [step for step in steps if step.prompt]
    names = " ".join(f"<a href='#n{step.index}'>S{step.index}</a>" for step in steps)
    classes = " ".join(f"s{step.index}" for step in steps if not step.prompt)
    plan = f"<div class='box {classes}'><small>plan of {names}</small>{tagged(round.plan)}</div>"
    boxes = "".join(map(_execution, executed, (execution.text for execution in round.executions)))
    return f"<section id='r{number}'{hue(number)}><h3>round {number}</h3>{plan}{boxes}</section>"


def _execution(step: StepView, text: str) -> str:
    first = min(part.first for part in (step.lines.plan, step.lines.execution) if part is not None)
    head = f"execution {step.name} · <a href='#n{step.index}'>S{step.index}</a> · <a href='#l{first}'>line {first}</a>"
    told = f" · {escape(step.instruction)}" if step.instruction else ""
    return f"<div class='box execution s{step.index}' id='x{step.name}'><small>{head}{told}</small>{escape(text)}</div>"


def _replies(recorded: Recorded) -> str:
    """What the annotating model wrote, where one was asked."""
    shown = "".join(
        f"<details><summary>{escape(words(str(item.purpose)))}{', cut off' if item.truncated else ''}"
        f"</summary><pre>{escape(item.text)}</pre></details>"
        for item in recorded.exchanges
    )
    return f"<h2>What the annotator wrote</h2>{shown}" if shown else ""
