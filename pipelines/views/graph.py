"""Draws the steps of a row as a layered graph in SVG: rounds are columns, time runs to the right, edges never go back.

A round is a band of one column or more: a step that follows a plan of its own round stands to the right of it. Long
edges are led through the columns between by bends, and columns are ordered so that edges cross little. Knows steps
and their edges, not their texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from pipelines.views.html import hue
from pipelines.views.rowview import RowView, StepView

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _TOP, _PAD = 104, 36, 46, 16, 34, 14
_BEND_HEIGHT = 10
_SWEEPS = 6
_MOST_BENDS = 4_000  # beyond it a drawing shows nothing to anyone
_MOST_IMPLIED = 20  # … and beyond so many edges that others imply, those are left out

Node = tuple[int, int]  # a step and 0, or the child of a long edge and the number of its bend


@dataclass
class _Layout:
    """Columns of nodes from top to bottom, the columns of each round, and each edge as the nodes it passes."""

    columns: list[list[Node]]
    rounds: Mapping[int, tuple[int, int]]
    paths: Mapping[tuple[int, int], list[Node]]
    place: dict[Node, tuple[float, float]] = field(default_factory=dict)
    height: float = 0.0


def graph_svg(view: RowView) -> str:
    """The drawing; a note in its place where the graph is too large for one."""
    layout = _layout(view)
    if layout is None:
        return "<p class='fine'>The graph has too many long edges to be drawn.</p>"
    width = len(layout.columns) * (_WIDTH + _GAP_X) - _GAP_X + 2 * _PAD
    parts = [_bands(layout), *_edges(view, layout), *(_node(step, layout) for step in view.steps)]
    size = f"viewBox='0 0 {width} {layout.height:.0f}' width='{width}' height='{layout.height:.0f}'"
    return f"<svg {size} role='img' aria-label='dependency graph' font-family='inherit'>{_ARROWS}{''.join(parts)}</svg>"


def shown_edges(view: RowView) -> list[tuple[int, int]]:
    """The (parent, step) edges that are drawn: all, or where many are implied by others, without those."""
    edges = [(parent, step.index) for step in view.steps for parent in step.parents]
    implied = view.implied
    if len(implied) <= _MOST_IMPLIED:
        return edges
    return [edge for edge in edges if edge not in implied or edge[0] in view.steps[edge[1] - 1].added]


# --- layout ----------------------------------------------------------------------------------------------------------


def _layout(view: RowView) -> _Layout | None:
    column, rounds = _columns_of(view.steps)
    columns: list[list[Node]] = [[] for _ in range(max(column.values()) + 1)]
    for step in view.steps:
        columns[column[step.index]].append((step.index, 0))
    edges = shown_edges(view)
    if sum(column[child] - column[parent] for parent, child in edges) > _MOST_BENDS:
        return None
    paths = {edge: _path(edge, number, column, columns) for number, edge in enumerate(edges, 1)}
    layout = _Layout(columns, rounds, paths)
    _order(layout)
    _put(layout)
    return layout


def _columns_of(steps: Sequence[StepView]) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
    """The column of each step, and the first and last column of each round."""
    depth: dict[int, int] = {}
    for step in steps:
        same = [depth[parent] + 1 for parent in step.parents if steps[parent - 1].round == step.round]
        depth[step.index] = max(same, default=0)
    rounds, first = {}, 0
    for round in range(1, max(step.round for step in steps) + 1):
        last = first + max((depth[step.index] for step in steps if step.round == round), default=0)
        rounds[round], first = (first, last), last + 1
    return {step.index: rounds[step.round][0] + depth[step.index] for step in steps}, rounds


def _path(edge: tuple[int, int], number: int, column: Mapping[int, int], columns: list[list[Node]]) -> list[Node]:
    """The edge's nodes; its bends are added to the columns that it crosses."""
    bends = [(-number, at) for at in range(column[edge[0]] + 1, column[edge[1]])]
    for bend in bends:
        columns[bend[1]].append(bend)
    return [(edge[0], 0), *bends, (edge[1], 0)]


def _order(layout: _Layout) -> None:
    """Sorts each column by the middle of its neighbours, to and fro (Sugiyama, Tagawa and Toda 1981)."""
    before: dict[Node, list[Node]] = defaultdict(list)
    after: dict[Node, list[Node]] = defaultdict(list)
    for path in layout.paths.values():
        for a, b in pairwise(path):
            before[b].append(a)
            after[a].append(b)
    for sweep in range(_SWEEPS):
        neighbours = after if sweep % 2 else before
        for column in layout.columns[::-1] if sweep % 2 else layout.columns:
            rank = _ranks(layout)
            column.sort(key=lambda node, rank=rank: _middle(node, neighbours, rank))  # type: ignore[misc]


def _ranks(layout: _Layout) -> dict[Node, float]:
    """Where each node stands in its column, from 0 at the top to 1."""
    return {node: (at + 0.5) / len(column) for column in layout.columns for at, node in enumerate(column)}


def _middle(node: Node, neighbours: Mapping[Node, list[Node]], rank: Mapping[Node, float]) -> float:
    found = neighbours.get(node)
    return sum(rank[other] for other in found) / len(found) if found else rank[node]


def _put(layout: _Layout) -> None:
    """Gives each node its place: the middle of its left side."""
    heights = [sum(_room(node) for node in column) for column in layout.columns]
    layout.height = max(heights) + _TOP + _PAD
    for number, (column, height) in enumerate(zip(layout.columns, heights, strict=True)):
        y = _TOP + (max(heights) - height) / 2
        for node in column:
            layout.place[node] = (_PAD + number * (_WIDTH + _GAP_X), y + _room(node) / 2)
            y += _room(node)


def _room(node: Node) -> float:
    return _HEIGHT + _GAP_Y if node[0] > 0 else _BEND_HEIGHT


# --- drawing ---------------------------------------------------------------------------------------------------------

_ARROWS = "<defs>" + "".join(
    f"<marker id='arrow{kind}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
    f"<path class='arrow {kind}' d='M0 0.5 L8 4 L0 7.5 z'/></marker>"
    for kind in ("", "added")
) + "</defs>"  # fmt: skip


def _bands(layout: _Layout) -> str:
    parts = []
    for round, (first, last) in layout.rounds.items():
        x = _PAD + first * (_WIDTH + _GAP_X) - 10
        width = (last - first) * (_WIDTH + _GAP_X) + _WIDTH + 20
        parts.append(f"<rect class='band' x='{x}' y='4' width='{width}' height='{layout.height - 8:.0f}' rx='8'/>")
        parts.append(f"<text x='{x + 10}' y='22' font-size='12' font-weight='600'>round {round}</text>")
    return "".join(parts)


def _edges(view: RowView, layout: _Layout) -> list[str]:
    """The edges; those that others imply are faint, those added for a leak stand out."""
    drawn, implied = [], view.implied
    for (parent, child), path in layout.paths.items():
        added = parent in view.steps[child - 1].added
        kind = "added" if added else "implied" if (parent, child) in implied else ""
        classes = f"edge {kind} e{parent} e{child}"
        why = ", added: it uses what its sibling produced" if added else ""
        hint = f"<title>step {child} depends on step {parent}{why}</title>"
        arrow = f"url(#arrow{'added' if added else ''})"
        drawn.append(f"<path class='{classes}' d='{_curve(path, layout)}' marker-end='{arrow}'>{hint}</path>")
    return drawn


def _curve(path: Sequence[Node], layout: _Layout) -> str:
    """From the right side of the first node through the bends to the left side of the last."""
    x, y = layout.place[path[0]]
    x += _WIDTH
    parts = [f"M{x:.0f} {y:.1f}"]
    for node in path[1:]:
        to_x, to_y = layout.place[node]
        half = (to_x - x) / 2
        parts.append(f"C{x + half:.0f} {y:.1f} {to_x - half:.0f} {to_y:.1f} {to_x:.0f} {to_y:.1f}")
        x, y = to_x, to_y
        if node[0] < 0:
            x += _WIDTH
            parts.append(f"H{x:.0f}")
    return " ".join(parts)


def _node(step: StepView, layout: _Layout) -> str:
    x, y = layout.place[step.index, 0]
    label = f"S{step.index}" + (f" · {step.name}" if step.name else "")
    small = f"{step.num_lines} lines" if step.name else f"{step.num_lines} lines, planner"
    target = f"#x{step.name}" if step.name else f"#r{step.round}"
    kind = "node" if step.name else "node planned"
    return (
        f"<a href='{target}'><g class='{kind} s{step.index}' id='n{step.index}'{hue(step.round)}>"
        f"<title>{escape(step.instruction or 'a step that the planner does itself')}</title>"
        f"<rect x='{x:.0f}' y='{y - _HEIGHT / 2:.1f}' width='{_WIDTH}' height='{_HEIGHT}' rx='6'/>"
        f"<text x='{x + 10:.0f}' y='{y - 2:.1f}' font-weight='600'>{label}</text>"
        f"<text class='small' x='{x + 10:.0f}' y='{y + 12:.1f}'>{small}</text></g></a>"
    )
