"""The dataset card of a run: `README.md`, with the front matter by which `datasets` finds both sets.

Knows the manifest and the summary, and says nothing that stands in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from pipelines.record.manifest import annotator
from pipelines.views.summary import CurationSummary
from pipelines.views.words import words

_COLUMNS = {
    "id": "the input's id, or one made from its text",
    "question": "the problem",
    "answer": "the gold answer",
    "method": "`sprint` or `rft`",
    "text": "what the model learns to write, from `<think>` to `</think>`",
    "messages": "the same as a chat: the question with its instruction, and the text",
    "input_ids": "prompt and text as token ids",
    "loss_mask": "which of them are trained on",
    "num_rounds": "rounds of a plan and its executions",
    "num_executions": "executions in all rounds",
    "ratio": "executed steps per round",
    "level": "the problem's level, where known",
    "subject": "the problem's subject, where known",
}
_OPTIONAL = {"text": ("text",), "messages": ("messages",), "tokens": ("input_ids", "loss_mask")}
_THRESHOLDS = (
    "require_gold", "contamination", "contamination_ngram", "max_chars", "max_length", "tokenizer",
    "fold_lines", "min_coverage", "on_leak", "max_rounds", "max_prompts", "ratio", "min_ratio",
)  # fmt: skip
_FRONT = """---
license: other
license_name: inherits-from-inputs
task_categories:
- text-generation
tags:
- reasoning
- parallel-reasoning
- sprint
configs:
- config_name: sprint
  default: true
  data_files:
  - split: train
    path: sprint/*.parquet
- config_name: rft
  data_files:
  - split: train
    path: rft/*.parquet
---
"""


_LOAD = """from datasets import load_dataset

sprint = load_dataset("FOLDER", "sprint", split="train")
rft = load_dataset("FOLDER", "rft", split="train")"""


def card_text(manifest: Mapping[str, Any], summary: CurationSummary) -> str:
    """The card, as Markdown."""
    sections = [
        _opening(summary),
        f"## Load\n\n```python\n{_LOAD}\n```",
        f"## How it was made\n\n{_table(('', ''), _made(manifest))}",
        f"## Rows\n\n{_table(('rows', 'count', 'share'), _rows(summary), numbers=True)}",
        f"## Before and after\n\n{_sizes(summary)}",
        f"## Columns\n\n{_table(('column', 'meaning'), _columns(manifest))}",
        "## Licence\n\nInherits from the inputs: the texts are those of the traces that were curated, cut and put in "
        "another order. Whoever passes them on states the licence of the problems, and the terms of the model that "
        "wrote the traces.",
    ]
    return _FRONT + "\n" + "\n\n".join(sections) + "\n"


def _opening(summary: CurationSummary) -> str:
    return (
        "# Reasoning in rounds\n\n"
        f"{summary.num_kept:,} problems with a solution, in two forms. `sprint`: rounds of a plan and executions that "
        "run side by side, to teach a model to reason in parallel (SPRINT, arXiv 2506.05745). `rft`: the same "
        "solutions as they were, one thought after the other, as the sequential twin. Both hold the same problems in "
        "the same order."
    )


def _made(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What decided the output, as far as the manifest tells."""
    code, about = _mapping(manifest, "code"), _mapping(manifest, "annotator")
    version = " ".join(filter(None, (str(code.get("version") or ""), str(code.get("commit") or "")[:12])))
    inputs = manifest.get("inputs")
    fixed = {
        "annotator": annotator(manifest),
        "prompts (hash)": about.get("prompts"),
        "code": version,
        "sources (hash)": code.get("sources"),
        "run (hash of settings and inputs)": manifest.get("hash"),
        "input files": len(inputs) if isinstance(inputs, list) else None,
    }
    settings = _mapping(manifest, "settings")
    for name, value in (fixed | {name: settings.get(name) for name in _THRESHOLDS}).items():
        if value not in (None, "", [], ()):
            yield words(name), _plain(_value(value))


def _mapping(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = manifest.get(name)
    return found if isinstance(found, Mapping) else {}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plain(text: str) -> str:
    """Text from settings as Markdown that shows it: no markup, no link, no picture."""
    return escape(text, quote=False).replace("[", "\\[").replace("]", "\\]")


def _rows(summary: CurationSummary) -> Iterator[tuple[str, str, str]]:
    whole = max(summary.num_rows, 1)
    yield "read", f"{summary.num_rows:,}", "100.0 %"
    for reason, count in summary.dropped.items():
        yield words(str(reason)), f"{count:,}", f"{100 * count / whole:.1f} %"
    yield "**kept**", f"**{summary.num_kept:,}**", f"**{100 * summary.num_kept / whole:.1f} %**"


def _sizes(summary: CurationSummary) -> str:
    """What is waited for before and after, and the shape of the kept rows."""
    lengths = summary.sequential
    if lengths.ratio is None:
        return "No row was kept."
    width = summary.distributions["width"].mean_kept or 0.0
    rows = [
        (f"sequential {lengths.unit} before", f"{lengths.before:,}"),
        (f"sequential {lengths.unit} after (longest path through the rounds)", f"{lengths.after:,}"),
        ("after ÷ before", f"{100 * lengths.ratio:.1f} %"),
        ("rounds, mean", f"{summary.mean_rounds_kept:.2f}"),
        ("executions, mean", f"{summary.mean_executions_kept:.2f}"),
        ("executed steps per round, mean", f"{summary.mean_ratio_kept:.2f}"),
        ("widest round, mean", f"{width:.2f}"),
        ("dependencies added for sibling leaks", f"{summary.num_added_edges:,}"),
    ]
    return _table(("", "kept rows"), rows, numbers=True)


def _columns(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The columns that the run wrote."""
    fields = _mapping(manifest, "settings").get("fields") or ("text", "messages")
    absent = {column for field, names in _OPTIONAL.items() if field not in fields for column in names}
    return ((f"`{name}`", meaning) for name, meaning in _COLUMNS.items() if name not in absent)


def _table(heads: tuple[str, ...], rows: Any, numbers: bool = False) -> str:
    """A Markdown table; with `numbers`, all columns but the first stand to the right."""
    rule = ["---", *(("---:" if numbers else "---") for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in (heads, rule, *rows))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
