"""Any file of questions and answers: the user says which column holds what. Graded by equivalence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sprint.benchmarks.base import Benchmark, Sample, level_of, text_of
from sprint.errors import InputError

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "unique_id"),
    "question": ("question", "problem"),
    "answer": ("answer",),
    "level": ("level",),
    "subject": ("subject",),
}


class Columns(Benchmark):
    """`columns` maps id, question, answer, level and subject to the file's own names; the usual ones need no mapping.

    Raises InputError for a field it does not know.
    """

    name: ClassVar[str] = "file"
    about: ClassVar[str] = "any file of questions and answers"

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        for key in columns or {}:
            if key not in _FIELDS:
                raise InputError(f"columns has {key!r}, expected one of: {', '.join(_FIELDS)}", field="columns")
        self.columns = {**_FIELDS, **{key: (name,) for key, name in (columns or {}).items()}}

    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample:
        names = self.columns
        return Sample(
            id=text_of(row, names["id"], where),
            question=text_of(row, names["question"], where),
            answer=text_of(row, names["answer"], where),
            level=level_of(row, names["level"][0]),
            subject=text_of(row, names["subject"], where, ""),
        )
