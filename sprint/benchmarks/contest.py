"""Contest problems: AIME, AMC and HMMT, each year a benchmark of its own, from one file of all or each from the hub.

Graded by equivalence. It knows how contests are called and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sprint.benchmarks.base import Benchmark, Sample, text_of


class Contest(Benchmark):
    """Columns: problem, answer, an id, and in a file of several contests `contest`, such as "HMMT Feb 2024".

    `title`: the words that the contest's name must hold; rows of other contests are left out. () takes all of them.
    """

    name: ClassVar[str] = "contest"
    about: ClassVar[str] = "all contests of the user's own file; `subject` says which"
    title: ClassVar[tuple[str, ...]] = ()

    def sample(self, row: Mapping[str, Any], where: str, seed: int) -> Sample | None:
        contest = text_of(row, ("contest",), where, " ".join(self.title))
        if not set(self.title) <= set(contest.replace("/", " ").split()):
            return None
        return Sample(
            id=text_of(row, ("id", "ID", "unique_id", "problem_idx"), where),
            question=text_of(row, ("problem", "Problem", "question"), where),
            answer=text_of(row, ("answer", "Answer"), where).removesuffix(".0"),  # AMC's whole numbers, read as floats
            subject=contest,
        )


class Aime2024(Contest):
    name: ClassVar[str] = "aime2024"
    about: ClassVar[str] = "AIME 2024, 30 problems"
    title: ClassVar[tuple[str, ...]] = ("AIME", "2024")
    hub: ClassVar[str] = "HuggingFaceH4/aime_2024"
    hub_split: ClassVar[str] = "train"


class Aime2025(Contest):
    name: ClassVar[str] = "aime2025"
    about: ClassVar[str] = "AIME 2025, 30 problems"
    title: ClassVar[tuple[str, ...]] = ("AIME", "2025")
    hub: ClassVar[str] = "MathArena/aime_2025"
    hub_split: ClassVar[str] = "train"


class Amc2023(Contest):
    name: ClassVar[str] = "amc2023"
    about: ClassVar[str] = "AMC 2023, 40 problems"
    title: ClassVar[tuple[str, ...]] = ("AMC", "2023")
    hub: ClassVar[str] = "math-ai/amc23"


class Hmmt2024(Contest):
    name: ClassVar[str] = "hmmt2024"
    about: ClassVar[str] = "HMMT February 2024, 30 problems; the user's own file"
    title: ClassVar[tuple[str, ...]] = ("HMMT", "2024")


class Hmmt2025(Contest):
    name: ClassVar[str] = "hmmt2025"
    about: ClassVar[str] = "HMMT February 2025, 30 problems"
    title: ClassVar[tuple[str, ...]] = ("HMMT", "2025")
    hub: ClassVar[str] = "MathArena/hmmt_feb_2025"
    hub_split: ClassVar[str] = "train"
