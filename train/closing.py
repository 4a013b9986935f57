"""What follows training: the model is exported and tried out, the run plotted and summed up. It knows no workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sprint.card import ModelCard
from sprint.files import read_jsonl, write_json
from sprint.tokenizer import HFTokenizer
from train import plots
from train.card import readme
from train.config import TrainConfig, TrainSummary
from train.data import RowsInfo
from train.export import finish
from train.loop import WEIGHTS
from train.progress import METRICS
from train.reading import Curated
from train.smoke import Smoke, generate


def close(
    config: TrainConfig,
    curated: Curated,
    info: RowsInfo,
    tokenizer: HFTokenizer,
    card: ModelCard,
    say: Callable[[str], None],
) -> TrainSummary:
    """Export the weights in the run's folder, and say what the run came to.

    Raises SprintError when the exported model does not load or write; then no model is put in place.
    """
    lines = list(read_jsonl(config.folder / METRICS))
    last, of_model = lines[-1], exported(config, lines)
    smoke: Smoke | None = None

    def describe(draft: Path) -> str:
        nonlocal smoke
        smoke = generate(draft, curated.questions[0]) if config.smoke else None
        return readme(config, card, curated, info, of_model, smoke)

    finish(config.folder / WEIGHTS, tokenizer, card, config.export_folder, describe)
    summary = TrainSummary(
        name=config.name,
        method=card.method,
        steps=last["step"],
        examples=info.examples,
        dropped=info.dropped,
        tokens=last["tokens"],
        supervised_tokens=last["supervised_tokens"],
        final_loss=last["loss"],
        seconds=last["seconds"],
        export=config.export_folder,
        smoke=smoke.text if smoke else None,
    )
    plots.draw(config.folder)
    write_json(config.folder / "summary.json", summary.model_dump(mode="json"))
    _tell(summary, smoke, of_model["step"], say)
    return summary


def exported(config: TrainConfig, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics line of the exported weights: the last one, or the one with the lowest validation loss."""
    validated = [line for line in lines if "validation" in line]
    if config.validation.export == "last" or not validated:
        return lines[-1]
    return min(validated, key=lambda line: (line["validation"]["loss"], line["step"]))


def _tell(summary: TrainSummary, smoke: Smoke | None, step: int, say: Callable[[str], None]) -> None:
    if smoke:
        say(smoke.line())
    model = "model" if step == summary.steps else f"model of step {step}"
    say(f"trained {summary.name}: {summary.steps} steps, loss {summary.final_loss:.4f}; {model} in {summary.export}")
