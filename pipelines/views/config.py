"""What `sprint curate inspect` and `sprint curate compare` can be told. Opens no files."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sprint.config import StrictModel


class InspectConfig(StrictModel):
    """One row of a run, from the raw trace to its rounds."""

    run: str = Field(min_length=1, description="run folder or URI")
    id: str = Field(min_length=1, description="id of the row, the beginning of one, or #POSITION")
    html: Path | None = Field(None, description="also write a page with the graph drawn")
    as_json: bool = Field(False, description="print the row as JSON instead")


class CompareConfig(StrictModel):
    """Two runs over the same traces: how far their annotations agree."""

    first: str = Field(min_length=1, description="run folder or URI, the reference")
    second: str = Field(min_length=1, description="run folder or URI that is compared with it")
    out: Path | None = Field(None, description="also write the measures, as .json or as a .html page")
