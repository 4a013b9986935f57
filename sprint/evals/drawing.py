"""The house style of drawings: matplotlib behind a context manager. It knows colours and sizes, and no data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be185d", "#4d7c0f", "#7c2d12", "#0369a1", "#6b21a8")
RAMP = ("#99f6e4", "#2dd4bf", "#0d9488", "#0f5f59", "#0b3b38", "#082f2d", "#052220", "#021514")  # levels, easy to hard
INK, FAINT, GREY = "#1f2937", "#9ca3af", "#6b7280"
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a run may be called what it likes
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "svg.hashsalt": "sprint",
}


@contextmanager
def drawing(width: float, height: float, panels: int = 1, share_y: bool = False) -> Iterator[tuple[Any, list[Any]]]:
    """A figure of that size in inches with `panels` axes beside each other, closed afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(_STYLE):
        shape = {"figsize": (width, height), "layout": "constrained", "squeeze": False, "sharey": share_y}
        figure, axes = plt.subplots(1, panels, **shape)
        try:
            yield figure, list(axes[0])
        finally:
            plt.close(figure)
