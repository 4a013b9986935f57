"""The picture of a run: its losses and its learning rate over the steps, drawn from its metrics file at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.progress import METRICS, whole_lines

LOSS = "loss"  # .png and .svg, in the run's folder


def draw(run: Path) -> Path | None:
    """Draw the metrics of a run's folder into `loss.png` and `loss.svg` there; None when there are no lines."""
    from matplotlib.figure import Figure  # drawn without a screen: no window, no global state

    lines = whole_lines(run / METRICS)
    if not lines:
        return None
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _losses(upper, lines)
    lower.plot([line["step"] for line in lines], [line["learning_rate"] for line in lines], color="0.4")
    lower.set(xlabel="step", ylabel="learning rate")
    for ending in ("png", "svg"):
        figure.savefig(run / f"{LOSS}.{ending}", dpi=120)
    return run / f"{LOSS}.png"


def curves(lines: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Steps and losses to draw, by name: all supervised tokens, each kind of them, and the held-out ones."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        values = {"all": line["loss"], **line.get("losses", {})}
        if "validation" in line:
            values["validation"] = line["validation"]["loss"]
        for name, value in values.items():
            found.setdefault(name, []).append((line["step"], value))
    return found


def _losses(axes: Any, lines: list[dict[str, Any]]) -> None:
    found = curves(lines)
    for name, points in found.items():
        steps, values = zip(*points, strict=True)
        strong = name in ("all", "validation")
        axes.plot(steps, values, label=name, linewidth=2 if strong else 1, marker="o" if name == "validation" else None)
    axes.set(ylabel="loss per supervised token")
    if all(value > 0 for points in found.values() for _, value in points):
        axes.set_yscale("log")
    axes.legend()
    axes.grid(alpha=0.3)
