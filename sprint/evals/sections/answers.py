"""The answers themselves: several samples, what they cost, what the graders said, and the failures in full."""

from __future__ import annotations

from sprint.evals.blocks import Block, Heading, Items, Paragraph, Quote, Row, Table
from sprint.evals.comparison import Estimate
from sprint.evals.cost import Cost
from sprint.evals.failures import Failure, Gallery
from sprint.evals.grading import Disagreement
from sprint.evals.report import Report
from sprint.evals.table import NOT_REPORTED, p_value, percent, percent_range

_LONGEST_TEXT = 12_000  # characters of one failure, from its end, which is where it went wrong to see
_LONGEST_CELL = 120
_MOST_DISAGREEMENTS = 60


def answers(report: Report) -> list[Block]:
    """The sections, each where there is something to show."""
    return [*_repeats(report), *_costs(report), *_graders(report), *_disagreements(report), *_failures(report)]


def _repeats(report: Report) -> list[Block]:
    rows, sources = [], []
    for place, one in enumerate(report.findings, 1):
        for row in one.repeats:
            passed = f"{percent(row.pass_at_k)} [{percent_range(row.pass_interval)}]"
            elected = f"{percent(row.maj_at_k)} [{percent_range(row.maj_interval)}]"
            small = f"n = {one.summary.num_problems:,} problems, {one.summary.num_samples:,} samples"
            rows.append(Row((one.label, f"{row.k}", passed, elected), small=small))
            sources.append(place)
    if not rows:
        return []
    caption = (
        "pass@k: at least one of k samples is right; maj@k: the commonest answer among k is (ties by lot; answers are"
    )
    caption += (
        " put together by equality, not by spelling). Both are exact over all choices of k of the samples there are;"
    )
    caption += " bootstrap 95 % intervals over problems."
    table = Table(("run", "k", "pass@k", "maj@k"), tuple(rows), caption, tuple(dict.fromkeys(sources)))
    return [Heading("Several samples"), table]


def _costs(report: Report) -> list[Block]:
    found = [(place, one.cost) for place, one in enumerate(report.findings, 1) if one.cost]
    if not found:
        return []
    caption = (
        "At the prices given for a million tokens. A run whose server does not report its cache is charged in full; one"
        " whose prompts are not known (an import) is charged its output only."
    )
    heads = ("run", "a sample", "a right answer", "cache")
    table = Table(heads, tuple(_cost_row(one) for _, one in found), caption, tuple(place for place, _ in found))
    return [Heading("Cost"), table]


def _cost_row(one: Cost) -> Row:
    right = NOT_REPORTED if one.per_right is None else _money(one.per_right)
    cells = (one.label, _estimate(one.per_sample), right, _cache(one))
    return Row(cells, small=f"n = {one.num_samples:,} samples")


def _cache(one: Cost) -> str:
    if not one.prompts_known:
        return "prompts not known"
    return "known" if one.cache_known else "not reported"


def _estimate(estimate: Estimate) -> str:
    return f"{_money(estimate.value)} [{_money(estimate.interval.low)}–{_money(estimate.interval.high)}]"


def _money(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _graders(report: Report) -> list[Block]:
    names = list(dict.fromkeys(row.grader for row in report.grader_rows))
    if len(names) < 2:
        return []
    labels = [one.label for one in report.findings]
    cells = {(row.grader, row.label): row for row in report.grader_rows}
    tests = {(one.grader, one.label): one for one in report.grader_tests}
    others = [comparison.label for comparison in report.comparisons]
    rows = []
    for name in names:
        shares = [cells.get((name, label)) for label in labels]
        shown = [
            f"{percent(s.accuracy)} [{percent_range(s.interval)}], n = {s.num_problems}" if s else "–" for s in shares
        ]
        values = [p_value(tests[name, label].p_adjusted) if (name, label) in tests else "–" for label in others]
        rows.append(Row((name, *shown, *values)))
    heads = ("grader", *labels, *(f"{label}: p" for label in others))
    caption = (
        "Accuracy under each grader on the same answers, Wilson 95 %; p: both runs equally often right under it. The"
    )
    caption += " first grader's verdicts are the ones that all other numbers use. One that saw only some of the answers"
    caption += " (a judge: the doubtful ones; n says how many problems) has no p."
    caption += " p after Holm's correction." if len(others) > 1 else ""
    return [Heading("Graders"), Table(heads, tuple(rows), caption, tuple(range(1, len(labels) + 1)))]


def _disagreements(report: Report) -> list[Block]:
    found = [(place, one) for place, run in enumerate(report.findings, 1) for one in run.disagreements]
    if not found:
        return []
    rows = tuple(_disagreement(one) for _, one in found[:_MOST_DISAGREEMENTS])
    heads = ("problem", "gold", "answer", "the grader says", "another says")
    caption = f"{len(rows)} of {len(found)} answers on which two graders disagree. These are for a human to look at."
    sources = tuple(sorted({place for place, _ in found}))
    return [Heading("Where graders disagree", 3), Table(heads, rows, caption, sources)]


def _disagreement(one: Disagreement) -> Row:
    mine = f"{one.grader}: {'right' if one.is_right else 'wrong'}"
    other = f"{one.other}: {'right' if one.other_is_right else 'wrong'}"
    return Row((one.id, _short(one.gold), _short(one.answer), mine, other), small=one.label)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_CELL else f"…{line[-_LONGEST_CELL:]}"


def _failures(report: Report) -> list[Block]:
    blocks: list[Block] = []
    for one in report.findings:
        if one.gallery.num_failures:
            blocks += _gallery(one.gallery, one.summary.num_samples)
    return [Heading("Failures"), *blocks] if blocks else []


def _gallery(found: Gallery, num_samples: int) -> list[Block]:
    counts = tuple(f"{kind}: {count:,}" for kind, count in found.kinds.items())
    said = (
        f"{found.num_failures:,} of {num_samples:,} samples were not right; {len(found.shown)} are shown, each kind in "
    )
    said += "turn, first those that another run solved."
    texts = [block for failure in found.shown for block in _failure(failure)]
    return [Heading(found.label, 3), Paragraph(said, fine=True), Items(counts), *texts]


def _failure(failure: Failure) -> list[Block]:
    result = failure.result
    solved = f" · solved by {', '.join(failure.right_elsewhere)}" if failure.right_elsewhere else ""
    level = f" · level {result.level}" if result.level else ""
    written = (
        result.reasoning
        if not result.reasoning or result.answer in result.reasoning
        else (f"{result.reasoning}\n\n{result.answer}")
    )
    parts = (
        f"question: {result.question}",
        f"gold answer: {result.gold}",
        f"answer: {result.answer or '(none)'}",
        *([f"error: {result.error}"] if result.error else []),
        f"written:\n{_tail(written or '(nothing)')}",
    )
    return [Quote("\n\n".join(parts), f"{result.id}{level} · {failure.kind}{solved}")]


def _tail(text: str) -> str:
    left = len(text) - _LONGEST_TEXT
    return text if left <= 0 else f"[… {left:,} characters]\n{text[-_LONGEST_TEXT:]}"
