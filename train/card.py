"""The README.md beside an exported model: what it was taught, on what, by which code, and what came of it.

It knows settings and results; nothing of how training goes. Text of models and data is shown indented, as code.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sprint.card import Method, ModelCard
from sprint.provenance import code
from train.config import SCRATCH, TrainConfig
from train.data import RowsInfo
from train.reading import Curated
from train.smoke import Smoke

_PACKAGES = ("torch", "transformers", "deepspeed", "ray", "accelerate", "peft", "liger-kernel", "flash-attn")
_TAUGHT = {
    Method.SPRINT: "It reasons in rounds of a plan and parallel executions (SPRINT, arXiv 2506.05745).",
    Method.RFT: "It reasons in one sequential chain of thought: the baseline of SPRINT (arXiv 2506.05745).",
}
_HIDDEN = {"data", "start", "out", "export", "name", "resume", "dry_run", "tracking"}  # places, or said elsewhere


def data_hash(curated: Curated) -> str:
    """SHA-256 of the examples in their order: ids, questions, texts and the method."""
    digest = hashlib.sha256(str(curated.method).encode())
    for row in zip(curated.ids, curated.questions, curated.texts, strict=True):
        digest.update(json.dumps(row, ensure_ascii=False).encode())
    return digest.hexdigest()


def readme(
    config: TrainConfig,
    card: ModelCard,
    curated: Curated,
    info: RowsInfo,
    metrics: Mapping[str, Any],
    smoke: Smoke | None,
) -> str:
    """The whole text. `metrics` is what the run came to: names and values, in the order to show."""
    parts = [
        _front_matter(config),
        f"# {config.name}",
        f"{_TAUGHT[card.method]} Fine-tuned from {_start(config)}. How it must be asked stands in `sprint.json`; "
        f"`sprint serve` reads it.",
        "## Data",
        _table(_data(config, curated, info)),
        "## What came of it",
        _table(_plain(metrics)),
        *([f"{_smoke_sentence(smoke)}\n\n{_indented(smoke.text)}"] if smoke else []),
        "## Settings",
        _indented(json.dumps(_settings(config), indent=2)),
        "## Code and versions",
        _table(code("sprint", "train") | _versions()),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(config: TrainConfig) -> str:
    lines = ["library_name: transformers", "pipeline_tag: text-generation", "tags: [sprint, reasoning]"]
    if config.start != SCRATCH and not Path(config.start).exists():
        lines.append(f"base_model: {json.dumps(config.start)}")
    return "\n".join(("---", *lines, "---"))


def _start(config: TrainConfig) -> str:
    """The start model without the place where it stood on some disk."""
    if config.start == SCRATCH:
        return "random weights"
    return f"`{Path(config.start).name if Path(config.start).exists() else config.start}`"


def _data(config: TrainConfig, curated: Curated, info: RowsInfo) -> dict[str, object]:
    return {
        "set": f"{config.data.parent.name}/{config.data.name}",
        "examples": len(curated.ids),
        "trained on": info.examples,
        "held out": len(curated.ids) - info.examples - info.dropped,
        "dropped, too long": info.dropped,
        "packed rows": f"{info.num_rows} of {info.row_tokens} tokens",
        "SHA-256 of the examples": data_hash(curated),
        "SHA-256 of the packed rows": info.fingerprint,
    }


def _plain(metrics: Mapping[str, Any], of: str = "") -> dict[str, object]:
    """Names and values in words, what is nested after the name it is nested in."""
    found: dict[str, object] = {}
    for name, value in metrics.items():
        words = f"{of}{name.replace('_', ' ')}"
        found |= _plain(value, f"{words}: ") if isinstance(value, Mapping) else {words: value}
    return found


def _settings(config: TrainConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump(mode="json").items() if name not in _HIDDEN}


def _smoke_sentence(smoke: Smoke) -> str:
    return f"After the first training question ({smoke.prompt_tokens} tokens) it wrote, greedily, until it was stopped:"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # an option that this machine does without
    return found


def _table(values: Mapping[str, object]) -> str:
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in values.items()]
    return "\n".join(("| | |", "| --- | --- |", *rows))


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ") or "-"


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines()) or "    (nothing)"
