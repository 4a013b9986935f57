"""What a curation is told to keep, a row on its way through it, and what became of a row. Plain records.

Knows nothing of how rows are judged (`sprint.curate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sprint.annotate import FOLD_LINES
from sprint.requests import AnnotationUsage
from sprint.types import DropReason, Trace


class Ratio(StrEnum):
    """Which parallelism ratio `min_ratio` is about."""

    EXECUTED = "executed"  # executed steps per round: the released code, and the stricter one
    ALL = "all"  # all steps per round: the paper's text


class OnLeak(StrEnum):
    """What becomes of a trace in which an execution uses what only a sibling of its round produced."""

    MEND = "mend"  # the missing dependency is added and the steps are packed again
    DROP = "drop"
    KEEP = "keep"  # as the authors did


@dataclass(frozen=True, slots=True)
class CurationOptions:
    """What is kept. The defaults are the paper's released settings (A.2) for folding, ratio and rounds.

    max_chars   longest reasoning, in characters
    max_length  longest training text, in the unit of the run (tokens when there is a tokenizer, else characters)
    """

    require_gold: bool = True
    fold_lines: int = FOLD_LINES
    min_ratio: float = 1.5
    ratio: Ratio = Ratio.EXECUTED
    max_rounds: int = 11
    max_prompts: int = 16
    min_coverage: float = 0.9
    on_leak: OnLeak = OnLeak.MEND
    max_chars: int | None = None
    max_length: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curated:
    """What became of one row. `reason` is None exactly when it is kept; the texts are empty when it is dropped.

    reasoning          the thought as it was annotated, without a closing sentence that only boxes the answer
    annotation         the steps and parents as text (`annotate.dumps`), of dropped rows too where there is one
    ratio, step_ratio  executed steps per round (the released code), and all steps per round (the paper)
    width              most executions in one round
    coverage           share of the lines with text that stand in a step
    num_added_edges    dependencies added because an execution used what a sibling produced
    sequential_before, sequential_after   the thought's length, and the longest path through the rounds, in the unit of
                       the run (tokens when a tokenizer was given, else characters)
    """

    id: str
    question: str = ""
    answer: str = ""
    reason: DropReason | None = None
    detail: str = ""
    digest: str = ""
    reasoning: str = ""
    sprint_text: str = ""
    rft_text: str = ""
    num_lines: int = 0
    num_steps: int = 0
    num_rounds: int = 0
    num_executions: int = 0
    ratio: float = 0.0
    step_ratio: float = 0.0
    width: int = 0
    coverage: float = 0.0
    num_added_edges: int = 0
    sequential_before: int = 0
    sequential_after: int = 0
    level: str = ""
    subject: str = ""
    annotation: str = ""
    usage: AnnotationUsage = field(default_factory=AnnotationUsage)

    @property
    def is_kept(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trace that passed every check that needs no annotation. `body` is what is annotated, cut into `lines`."""

    trace: Trace
    body: str
    final: str
    lines: tuple[str, ...]
