"""The report's charts, as inline SVG. Knows distributions, and colours by their role.

matplotlib draws with stand-in colours that become the page's own variables, so that a chart follows light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.views.counters import Distribution
from sprint.page import inline_svg

_KEPT, _LOST, _INK, _RULE = "#010203", "#020304", "#030405", "#040506"  # stand-ins, replaced below
_VARIABLES = {_KEPT: "var(--kept)", _LOST: "var(--lost)", _INK: "var(--soft)", _RULE: "var(--rule)"}
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _RULE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "sprint",
}


def distributions_figure(titled: Sequence[tuple[str, Distribution]], columns: int = 3) -> str:
    """Small bar charts side by side: kept rows below, dropped rows on top of them. None of them may be empty."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = -(-len(titled) // columns)
    with matplotlib.rc_context(_STYLE):
        figure: Any = Figure(figsize=(3.5 * columns, 2.3 * rows), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (title, found) in zip(panels, titled, strict=False):
            _bars(axes, title, found)
        for axes in panels[len(titled) :]:
            axes.set_visible(False)
        return _svg(figure)


def _bars(axes: Any, title: str, found: Distribution) -> None:
    starts = sorted({*found.kept, *found.dropped})
    kept = [found.kept.get(start, 0) for start in starts]
    dropped = [found.dropped.get(start, 0) for start in starts]
    whole = found.width == 1  # whole numbers stand under the middle of their bar
    centres = [start + (0 if whole else found.width / 2) for start in starts]
    axes.bar(centres, kept, found.width * 0.86, color=_KEPT, linewidth=0)
    axes.bar(centres, dropped, found.width * 0.86, bottom=kept, color=_LOST, linewidth=0)
    axes.set_title(title)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    _ticks(axes, found, starts)


def _ticks(axes: Any, found: Distribution, starts: Sequence[float]) -> None:
    """Round places under the bars; the open last bin reads `12+`."""
    last = starts[-1]
    first = max(0.0, min(starts[0], last - 4 * found.width))
    every = found.width * max(1, round((last - first) / found.width / 7))
    places = [first + i * every for i in range(int((last - first) / every + 1e-9) + 1)]
    closes = last >= found.last > 0 and found.last != 1
    if closes:
        places = [place for place in places if place <= last - every * 0.7] + [last]
    names = [f"{place:g}{'+' if closes and place == last else ''}" for place in places]
    axes.set_xticks(places, names)
    margin = found.width * 0.7
    axes.set_xlim(first - margin, last + margin + (0 if found.width == 1 else found.width))


def _svg(figure: Any) -> str:
    """The drawing with the page's own variables for its colours, and the page's font."""
    text = inline_svg(figure)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text.replace("'DejaVu Sans'", "inherit").replace("inherit, sans-serif", "inherit")
