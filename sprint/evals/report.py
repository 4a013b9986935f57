"""`sprint report`: runs on the same problems become one page and one JSON file.

It decides what is compared with what and says in words what the numbers show. It does not know how to draw or mark up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprint.errors import ConfigError, InputError
from sprint.evals.config import ReportConfig
from sprint.evals.results import Result, read_results
from sprint.evals.summary import Comparison, Summary, compare, summarise
from sprint.evals.table import print_table
from sprint.files import write_json, write_text

Run = Sequence[Result]


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows."""

    title: str
    note: str
    runs: list[list[Result]]
    summaries: list[Summary]
    comparisons: list[Comparison]
    baseline: int | None

    def as_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "title": self.title,
            "runs": [summary.as_dict() for summary in self.summaries],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "what_it_shows": self.words(),
        }

    def words(self) -> list[str]:
        """The paragraphs that say what the numbers show and what they do not."""
        return [sentence for sentence in (*map(_verdict, self.comparisons), _limits(self.summaries)) if sentence]


def report(config: ReportConfig) -> Report:
    """Write the page and its JSON. Raises InputError for a file that is missing, empty, or of other problems."""
    from sprint.evals.page import page

    if config.out.suffix not in (".html", ".htm"):
        raise ConfigError(f"out is {str(config.out)!r}, expected a file name ending in .html", field="out")
    result = make_report(config)
    write_text(config.out, page(result))
    write_json(config.out.with_suffix(".json"), result.as_dict())
    print_table(result.summaries, result.comparisons)
    print(f"\nreport: {config.out}")
    return result


def make_report(config: ReportConfig) -> Report:
    """Everything the page shows, from the runs' files."""
    runs = [read_results(path) for path in config.runs]
    _check_same(runs, config.runs)
    baseline = _baseline(runs)
    others = [run for place, run in enumerate(runs) if baseline is not None and place != baseline]
    comparisons = [compare(run, runs[baseline]) for run in others] if baseline is not None else []
    return Report(config.title, config.note, runs, [summarise(run) for run in runs], comparisons, baseline)


def _check_same(runs: Sequence[Run], paths: Sequence[Path]) -> None:
    for run, path in zip(runs, paths, strict=True):
        if run[0].task != runs[0][0].task:
            raise InputError(f"{path} is of task {run[0].task!r}, {paths[0]} of {runs[0][0].task!r}: expected one task")
    labels = [run[0].label for run in runs]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"two runs are both labelled {label!r}, expected different labels (evaluate --label)")


def _baseline(runs: Sequence[Run]) -> int | None:
    """The run to compare with: the first sequential one, else the last; None for a single run."""
    if len(runs) < 2:
        return None
    sequential = [place for place, run in enumerate(runs) if any(result.method == "rft" for result in run)]
    return sequential[0] if sequential else len(runs) - 1


def _verdict(comparison: Comparison) -> str:
    tokens = comparison.ratios["pipelined_tokens"]
    if tokens is None:
        return ""
    value, interval = tokens
    more = comparison.ratios["generated_tokens"]
    parts = [
        f"On {comparison.num_pairs} problems that both answered, {comparison.label} waits for {value:.2f} times the "
        f"tokens of {comparison.baseline} (95 % interval {interval.low:.2f} to {interval.high:.2f}; pipelined, tags "
        "counted)"
    ]
    if more:
        parts.append(f" and generates {more[0]:.2f} times as many in all")
    parts.append(
        f". {comparison.label} alone is right on {comparison.only_run_correct} problems, {comparison.baseline} alone "
        f"on {comparison.only_baseline_correct} (exact McNemar p = {comparison.mcnemar_p:.2g})."
    )
    for name, how in (("wall_alone_s", "asked one at a time"), ("wall_s", "with others in flight")):
        if wall := comparison.ratios[name]:
            parts.append(f" On the clock, {how}, it takes {wall[0]:.2f} times as long.")
    return "".join(parts)


def _limits(summaries: Sequence[Summary]) -> str:
    flight = max(run.concurrency for run in summaries)
    together = f"with up to {flight} requests in flight" if flight > 1 else "with one request at a time"
    text = (
        f"Sequential tokens are not seconds. Seconds were measured by the client {together}, and parallel executions "
        "shorten them only where the machine has room to run them beside each other: on a small or busy one, what one "
        "request gains its neighbours lose."
    )
    if summaries[0].task in ("chains", "countdown"):
        text += (
            " The problems are generated, and the ratio follows from how the task is built: it shows that the "
            "mechanism works from traces to a served model, not what parallel thinking gains on real reasoning."
        )
    return text
