"""Everything that one run shows by itself. It puts together what the other files compute, and knows no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sprint.answers import last_boxed, normalise, same_answer
from sprint.evals.cost import Cost, cost
from sprint.evals.failures import Gallery, gallery
from sprint.evals.grading import Disagreement, disagreements
from sprint.evals.pattern import Pattern, Stragglers, pattern, stragglers
from sprint.evals.repeats import RepeatRow, Votes, classes, repeat_rows
from sprint.evals.results import Result
from sprint.evals.runs import Run
from sprint.evals.stats import Interval
from sprint.evals.summary import Summary, accuracy_bootstrap, summarise
from sprint.requests import Prices


@dataclass(frozen=True, slots=True)
class Findings:
    """One run: what it came to, how it used its rounds, what it cost, and where it failed."""

    run: Run
    summary: Summary
    accuracy_bootstrap: Interval
    repeats: list[RepeatRow]
    pattern: Pattern | None
    stragglers: Stragglers | None
    cost: Cost | None
    disagreements: list[Disagreement]
    gallery: Gallery

    @property
    def label(self) -> str:
        return self.run.label

    def as_dict(self) -> dict[str, Any]:
        """The run's part of report.json: every number, and none of the texts."""
        straggling = asdict(self.stragglers) | {"ratios": None} if self.stragglers else None
        return self.summary.as_dict() | {
            "files": [asdict(file) for file in self.run.files],
            "accuracy_bootstrap": asdict(self.accuracy_bootstrap),
            "repeats": [asdict(row) for row in self.repeats],
            "pattern": asdict(self.pattern) if self.pattern else None,
            "stragglers": straggling,
            "cost": asdict(self.cost) if self.cost else None,
            "disagreements": [asdict(one) for one in self.disagreements],
            "failures": dict(self.gallery.kinds),
        }


def find(run: Run, others: Sequence[Run], prices: Prices | None, num_failures: int) -> Findings:
    """The findings of a run; `others` are the runs beside it."""
    results = run.results
    return Findings(
        run=run,
        summary=summarise(results),
        accuracy_bootstrap=accuracy_bootstrap(results),
        repeats=repeat_rows([votes(group) for group in run.problems.values()]) if _repeated(run) else [],
        pattern=pattern(results),
        stragglers=stragglers(results),
        cost=cost(results, prices) if prices else None,
        disagreements=disagreements(results),
        gallery=gallery(results, [other.results for other in others], num_failures),
    )


def _repeated(run: Run) -> bool:
    return min(map(len, run.problems.values())) > 1


def votes(samples: Sequence[Result]) -> Votes:
    """The samples of one problem as votes: right ones agree with each other, wrong ones by the equality of answers."""
    right = sum(result.is_correct for result in samples)
    answers = [result.found or last_boxed(result.answer) or "" for result in samples if not result.is_correct]
    given = [normalise(answer) for answer in answers if answer.strip()]
    return Votes(right, classes(given, same_answer), len(answers) - len(given))
