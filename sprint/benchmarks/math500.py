"""MATH-500: 500 test problems of MATH with levels 1 to 5 and seven subjects. Graded by equivalence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sprint.benchmarks.base import Benchmark, Sample, level_of, text_of


class Math500(Benchmark):
    """Columns: problem, answer, level, subject, and id or unique_id."""

    name: ClassVar[str] = "math500"
    about: ClassVar[str] = "500 test problems of MATH, by level and subject"
    hub: ClassVar[str] = "HuggingFaceH4/MATH-500"

    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample:
        return Sample(
            id=text_of(row, ("id", "unique_id"), where),
            question=text_of(row, ("problem", "question"), where),
            answer=text_of(row, ("answer",), where),
            level=level_of(row),
            subject=text_of(row, ("subject", "type"), where, ""),
        )
