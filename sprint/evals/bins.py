"""Length bins: are the runs still right, and still shorter, on the long problems?

A bin must not be chosen by what it shall explain. The question's length depends on neither run, so it is used where the
problems differ in it; otherwise the baseline's own length is (as in the paper), and the page says what that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.results import Result
from sprint.evals.stats import quantile

NUM_BINS = 4
_SPREAD = 1.5  # 90th over 10th percentile below which problems count as equally long


@dataclass(frozen=True, slots=True)
class Bins:
    """Edges of the bins, ascending; a problem of length x is in bin i when edges[i] <= x < edges[i + 1] (last: <=).

    `lengths` are by problem id. `caveat` is a sentence for the reader.
    """

    name: str
    caveat: str
    edges: tuple[float, ...]
    lengths: dict[str, float]

    def index(self, problem: str) -> int | None:
        """The bin of a problem; None when its length is not known."""
        length = self.lengths.get(problem)
        if length is None:
            return None
        inner = self.edges[1:-1]
        return sum(length >= edge for edge in inner)

    @property
    def titles(self) -> list[str]:
        """The bins in words."""
        pairs = zip(self.edges, self.edges[1:], strict=False)
        return [f"{low:.0f}–{high:.0f}" for low, high in pairs]


def choose_bins(baseline: Sequence[Result]) -> Bins | None:
    """Bins of about equal size; None when the problems are equally long in every respect."""
    by_question = {result.id: float(len(result.question)) for result in baseline}
    if _spread(by_question) >= _SPREAD:
        return _bins("characters of the question", "The length of the question depends on neither run.", by_question)
    by_baseline = {result.id: float(result.usage.generated_tokens) for result in baseline if result.usage}
    if len(set(by_baseline.values())) < NUM_BINS:
        return None
    caveat = (
        f"The questions are all about equally long, so the problems are binned by the tokens that "
        f"{baseline[0].label} generated, as in the paper. That favours the other run in the last bin: some problems "
        f"are there only because {baseline[0].label} happened to write much."
    )
    return _bins(f"tokens that {baseline[0].label} generated", caveat, by_baseline)


def _spread(lengths: dict[str, float]) -> float:
    ordered = sorted(lengths.values())
    return quantile(ordered, 0.9) / max(quantile(ordered, 0.1), 1.0)


def _bins(name: str, caveat: str, lengths: dict[str, float]) -> Bins | None:
    ordered = sorted(lengths.values())
    edges = sorted({quantile(ordered, share / NUM_BINS) for share in range(NUM_BINS + 1)})
    return Bins(name, caveat, tuple(edges), lengths) if len(edges) > 2 else None
