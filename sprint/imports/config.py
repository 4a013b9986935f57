"""What an import is told to do. It knows no format."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sprint.config import StrictModel


class ImportConfig(StrictModel):
    """`sprint import`: make an evaluation run out of outputs that were written elsewhere."""

    format: str = Field(description="sprint, sequential, parallel, multiverse or threadweaver")
    file: Path = Field(description=".jsonl, .csv or .parquet with a row for each output")
    out: Path = Field(description="JSON lines to write, as `sprint evaluate` does")
    tokenizer: str = Field(description="what counts the tokens: a model folder, a .tiktoken file, or bytes")
    label: str = Field("", description="what the report calls this run; empty: the format")
    model: str = Field("", description="the model that wrote the outputs")
    temperature: float = Field(0.0, ge=0.0, description="of their sampling; 0: greedy")
    task: str = Field("imported", description="what was asked; runs of one report must agree on it")
    benchmark: str = Field("", description="grade as this benchmark does (default: by equivalence of the answers)")
    columns: dict[str, str] = Field(
        default_factory=dict, description="how the file calls id, question, answer, text, level or subject"
    )
    id_prefix: str = Field("", description="taken off the ids, so that runs of the same problems can be paired")
