"""`sprint report`: runs on the same problems become one page, the same as Markdown, and one JSON file.

It decides what is compared with what. It does not know how to compute, word, draw or mark up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sprint.errors import ConfigError, InputError
from sprint.evals import words
from sprint.evals.bins import independent_bins, own_bins
from sprint.evals.comparison import Comparison, compare
from sprint.evals.config import ReportConfig
from sprint.evals.findings import Findings, find
from sprint.evals.grading import GraderRow, GraderTest, corrected, grader_rows, grader_tests
from sprint.evals.headline import headline
from sprint.evals.paired import holm
from sprint.evals.runs import Run, read_run, read_runs
from sprint.evals.savings import Savings, savings
from sprint.evals.table import print_table
from sprint.files import write_json, write_text
from sprint.printable import printable

_BASELINES = ("rft", "sequential", "base")  # methods that think one token after another


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows. `baseline` is the place of the run that the others are compared with; None for one run.

    `savings` holds, for every comparison, first the independent bins (where there are any), then the biased ones.
    """

    title: str
    note: str
    findings: list[Findings]
    comparisons: list[Comparison]
    baseline: int | None
    held_out: Run | None
    savings: list[Savings]
    grader_rows: list[GraderRow]
    grader_tests: list[GraderTest]

    @property
    def runs(self) -> list[list[Any]]:
        """The results of every run."""
        return [one.run.results for one in self.findings]

    @property
    def sources(self) -> list[Run]:
        """The runs that the numbers trace to, in the order in which the page numbers them from 1."""
        return [one.run for one in self.findings] + ([self.held_out] if self.held_out else [])

    def words(self) -> list[str]:
        """The paragraphs that say what the numbers show and what they do not."""
        said = [
            text for one in self.comparisons for text in words.verdict(one, len(self.comparisons), self._tests(one))
        ]
        said += [words.uncorrected(len(self.comparisons)), words.graded_differently(self.runs)]
        return [*filter(None, said), words.limits([one.summary for one in self.findings])]

    def _tests(self, comparison: Comparison) -> list[GraderTest]:
        return [one for one in self.grader_tests if one.label == comparison.label]

    def as_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "title": self.title,
            "runs": [one.as_dict() for one in self.findings],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "held_out": [asdict(file) for file in self.held_out.files] if self.held_out else None,
            "savings": [_without_places(one) for one in self.savings],
            "graders": [asdict(row) for row in self.grader_rows],
            "grader_tests": [asdict(one) for one in self.grader_tests],
            "what_it_shows": self.words(),
        }


def _without_places(one: Savings) -> dict[str, Any]:
    values = asdict(one)
    del values["bins"]["places"]
    return values


def report(config: ReportConfig) -> Report:
    """Write the page, its Markdown and its JSON.

    Raises InputError for a file that is missing, empty, or of other problems; ConfigError for a wrong option.
    """
    from sprint.evals.page import markdown, page

    if config.out.suffix not in (".html", ".htm"):
        raise ConfigError(f"out is {str(config.out)!r}, expected a file name ending in .html", field="out")
    result = make_report(config)
    write_text(config.out, page(result))
    write_text(config.out.with_suffix(".md"), markdown(result))
    write_json(config.out.with_suffix(".json"), result.as_dict())
    print_table([one.summary for one in result.findings], result.comparisons)
    for text in result.words() if result.comparisons else ():
        print(f"\n{printable(text)}")
    if config.headline:
        print(f"\n{printable(headline([one.summary for one in result.findings], result.comparisons, result.sources))}")
    print(f"\nreport: {config.out}, {config.out.with_suffix('.md')}, {config.out.with_suffix('.json')}")
    return result


def make_report(config: ReportConfig) -> Report:
    """Everything the page shows, from the runs' files."""
    runs = read_runs(config.runs)
    baseline = _baseline(runs, config.baseline)
    others = [run for place, run in enumerate(runs) if baseline is not None and place != baseline]
    against = runs[baseline] if baseline is not None else None
    held_out = read_run(config.lengths) if config.lengths else None
    prices = config.prices.prices
    return Report(
        title=config.title,
        note=config.note,
        findings=[find(run, [r for r in runs if r is not run], prices, config.failures) for run in runs],
        comparisons=_corrected([compare(run.results, against.results) for run in others]) if against else [],
        baseline=baseline,
        held_out=held_out,
        savings=_savings(others, against, runs, held_out, config.bin_edges) if against else [],
        grader_rows=grader_rows([run.results for run in runs]),
        grader_tests=corrected([t for run in others for t in grader_tests(run.results, against.results)])
        if against
        else [],
    )


def _savings(
    others: Sequence[Run], baseline: Run, runs: Sequence[Run], held_out: Run | None, edges: Sequence[float]
) -> list[Savings]:
    """For each run: by the independent bins; then by the baseline's own length, and by the run's own."""
    fair, found = independent_bins(runs, held_out, edges), []
    for run in others:
        choices = (fair, own_bins(baseline, edges), own_bins(run, edges))
        found += [savings(run.results, baseline.results, bins) for bins in choices if bins]
    return found


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with their p-values adjusted for being several."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [replace(comparison, p_adjusted=p) for comparison, p in zip(comparisons, adjusted, strict=True)]


def _baseline(runs: Sequence[Run], wanted: str) -> int | None:
    """The run to compare with: the one asked for, else the first sequential one, else the last; None if alone.

    Of sequential ones `rft` goes before `sequential` before `base`: it was taught the same problems.
    """
    labels = [run.label for run in runs]
    if wanted and wanted not in labels:
        raise InputError(f"baseline is {wanted!r}, expected the label of a run: {', '.join(labels)}", field="baseline")
    if len(runs) < 2:
        return None
    if wanted:
        return labels.index(wanted)
    methods = [{result.method for result in run.results} for run in runs]
    sequential = [place for wanted in _BASELINES for place, found in enumerate(methods) if wanted in found]
    return sequential[0] if sequential else len(runs) - 1
