"""What `sprint curate` can be told. Knows no Ray and opens no files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from sprint.annotate import FOLD_LINES
from sprint.config import StrictModel
from sprint.curate import CurationOptions
from sprint.rows import ALIASES


class CurateConfig(StrictModel):
    """One curation run: traces in, SPRINT and RFT training sets out.

    Defaults for folding, ratio and rounds are those of the paper's released settings (A.2).
    """

    inputs: tuple[str, ...] = Field(min_length=1, description="JSONL or Parquet files, folders or globs")
    out: Path = Field(description="folder to write; must not exist, or be empty, unless `overwrite`")
    overwrite: bool = Field(False, description="replace the output of an earlier curation")
    columns: dict[str, str] = Field(default_factory=dict, description="column of a field, e.g. reasoning: thought")
    require_gold: bool = Field(True, description="drop rows without a gold answer to check against")
    annotator: Literal["rules"] = "rules"
    fold_lines: int = Field(FOLD_LINES, ge=0, description="executions of at most this many lines go into the plan")
    min_ratio: float = Field(1.5, ge=0, description="least executed steps per round")
    max_rounds: int = Field(11, ge=1, description="most rounds before the final answer")
    max_prompts: int = Field(16, ge=1, description="most prompts in one round")
    max_chars: int | None = Field(None, ge=1, description="longest reasoning, in characters")
    limit: int | None = Field(None, ge=1, description="read only the first so many rows")
    num_cpus: int | None = Field(None, ge=1, description="size of a Ray started for this run (default: all)")
    cpus_per_task: float = Field(0.5, gt=0, description="CPUs that one curation task claims")
    rows_per_task: int = Field(256, ge=1, description="rows that one task reads and curates")
    rows_per_file: int = Field(10_000, ge=1, description="rows in one Parquet file of the output")
    seed: int = Field(0, description="chooses the examples in the report")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in ALIASES:
                raise ValueError(f"unknown field {name!r}, expected one of: {', '.join(ALIASES)}")
        return columns

    @property
    def options(self) -> CurationOptions:
        """The part that the row functions need."""
        names = ("require_gold", "fold_lines", "min_ratio", "max_rounds", "max_prompts", "max_chars", "columns")
        return CurationOptions(**{name: getattr(self, name) for name in names})
