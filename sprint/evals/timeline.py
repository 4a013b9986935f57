"""The timeline of one rollout: the planner on one lane, each parallel execution on its own, on the request's clock.

Drawn by hand as SVG, since it is a list of boxes. It knows timeline spans, not what was written in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sprint.evals.drawing import COLOURS, FAINT, INK

WIDTH, LEFT, LANE, GAP = 880, 118, 26, 6
_COLOURS = {"plan": COLOURS[0], "final": "#134e4a", "execution": "#5eead4", "sequential": COLOURS[1]}
_TEXT = {"execution": "#134e4a"}


@dataclass(frozen=True, slots=True)
class Track:
    """One run's answer to the problem that is shown."""

    label: str
    spans: Sequence[Mapping[str, Any]]


def timeline_figure(tracks: Sequence[Track]) -> str:
    """The tracks below each other on one clock."""
    end = max(span["end_s"] for track in tracks for span in track.spans) or 1e-9
    boxes, top = [], 4
    for track in tracks:
        boxes.append(f'<text x="0" y="{top + 13}" font-weight="bold" fill="{INK}">{escape(track.label)}</text>')
        top += 22
        for lane, spans in _lanes(track.spans).items():
            middle = top + LANE / 2 + 4
            boxes.append(f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end" fill="#4b5563">{lane}</text>')
            boxes.append(_line(LEFT, top + LANE, WIDTH, top + LANE))
            boxes += [_box(span, top, end) for span in spans]
            top += LANE + GAP
        top += 10
    return _frame(_axis(end, top) + "".join(boxes), top + 24)


def _lanes(spans: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The planner's lane first, then one lane per execution number."""
    lanes: dict[str, list[Mapping[str, Any]]] = {}
    for span in sorted(spans, key=lambda span: (span["kind"] == "execution", span["number"], span["start_s"])):
        name = f"execution {span['number']}" if span["kind"] == "execution" else "planner"
        name = "model" if span["kind"] == "sequential" else name
        lanes.setdefault(name, []).append(span)
    return lanes


def _box(span: Mapping[str, Any], top: float, end: float) -> str:
    scale = (WIDTH - LEFT - 4) / end
    left, width = LEFT + span["start_s"] * scale, max((span["end_s"] - span["start_s"]) * scale, 1.5)
    kind, tokens = str(span["kind"]), span["generated_tokens"]
    name = {"execution": f"{span['round']}.{span['number']}", "plan": f"plan {span['round']}"}.get(kind, kind)
    words = [
        text for text in (f"{name} · {tokens} tokens", f"{name} · {tokens}", name, "") if 6.3 * len(text) < width - 4
    ]
    colour = _COLOURS.get(kind, FAINT)
    hint = f"{name}: {tokens} tokens, {span['start_s']:.2f} s to {span['end_s']:.2f} s {span.get('outcome', '')}"
    label = words[0] if words else ""
    at = f'x="{left + width / 2:.1f}" y="{top + LANE / 2 + 4}"'
    return (
        f"<g><title>{escape(hint)}</title>"
        f'<rect x="{left:.1f}" y="{top + 2}" width="{width:.1f}" height="{LANE - 4}" rx="3" fill="{colour}"/>'
        f'<text {at} text-anchor="middle" fill="{_TEXT.get(kind, "#fff")}">{escape(label)}</text></g>'
    )


def _axis(end: float, top: float) -> str:
    step = _step(end)
    count = int(end / step + 1e-9)
    marks = [(LEFT + i * step * (WIDTH - LEFT - 4) / end, f"{i * step:g}") for i in range(count + 1)]
    ticks = (f'<text x="{x:.1f}" y="{top + 12}" text-anchor="middle" fill="#6b7280">{text}</text>' for x, text in marks)
    lines = (_line(x, 0, x, top - 2) for x, _ in marks)
    unit = f'<text x="{LEFT - 10}" y="{top + 12}" text-anchor="end" fill="#6b7280">seconds</text>'
    return "".join(lines) + "".join(ticks) + unit


def _step(end: float) -> float:
    """A round distance between ticks: about six of them."""
    size: float = 1e-3
    while True:
        for factor in (1, 2, 5):
            if end / (size * factor) <= 8:
                return size * factor
        size *= 10


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e5e7eb"/>'


def _frame(inside: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="100%" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="system-ui, sans-serif" font-size="11.5">{inside}</svg>'
    )
