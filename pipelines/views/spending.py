"""What annotating cost, summed over rows: calls, tokens, money, and the share of the traces that the annotator wrote.

Knows usage records, not endpoints or prices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.record.rows import Recorded
from pipelines.views.counters import rounded, share
from sprint.requests import AnnotationUsage


@dataclass(frozen=True, slots=True)
class Spending:
    """What annotating cost, summed over rows.

    num_rows      rows for which a model was asked
    output_share  tokens written by the annotator for each unit of the traces it read (tokens or characters)
    mean_share    the same, as the mean of the traces' own shares
    """

    num_rows: int
    usage: AnnotationUsage
    cost: float
    output_share: float | None
    mean_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Without the seconds, which no two runs share."""
        names = ("num_calls", "num_repairs", "num_failures", "prompt_tokens", "cached_tokens", "output_tokens")
        counts = {name: getattr(self.usage, name) for name in names}
        shares = {"output_share": rounded(self.output_share, 6), "mean_output_share": rounded(self.mean_share, 6)}
        return {"num_rows": self.num_rows} | counts | {"cost": round(self.cost, 6)} | shares


def was_asked(usage: AnnotationUsage) -> bool:
    """Whether a model was asked at all, successfully or not."""
    return usage.num_calls + usage.num_failures > 0


@dataclass(slots=True)
class Spent:
    """The sums behind `Spending`. Shares are taken of the traces whose length is known."""

    num_rows: int = 0
    usage: AnnotationUsage = field(default_factory=AnnotationUsage)
    cost: float = 0.0
    num_measured: int = 0
    output: int = 0
    length: int = 0
    shares: float = 0.0

    def add(self, recorded: Recorded) -> None:
        row = recorded.row
        if not was_asked(row.usage):
            return
        self.num_rows += 1
        self.usage, self.cost = self.usage + row.usage, self.cost + recorded.cost
        if row.sequential_before:
            self.num_measured += 1
            self.output, self.length = self.output + row.usage.output_tokens, self.length + row.sequential_before
            self.shares += row.usage.output_tokens / row.sequential_before

    def spending(self) -> Spending:
        shares = share(self.output, self.length), share(self.shares, self.num_measured)
        return Spending(self.num_rows, self.usage, self.cost, *shares)
