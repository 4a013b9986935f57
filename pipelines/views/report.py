"""The curation's page: where the rows went, what the kept ones look like, what it cost, and a few before and after.

One file, no scripts. Knows the summary, the example rows and the manifest; escapes everything that came from data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pipelines.record.manifest import annotator, fold_lines
from pipelines.record.rows import Recorded
from pipelines.views.agreement import measures
from pipelines.views.counters import Group, share
from pipelines.views.facts import counts
from pipelines.views.figures import distributions_figure
from pipelines.views.funnel import funnel
from pipelines.views.html import card, cards, document, hue, raw_lines, table, tagged
from pipelines.views.rowview import view
from pipelines.views.summary import CurationSummary
from pipelines.views.words import NOT_MEASURED, number, percent
from sprint.agreement import Agreement
from sprint.page import figure

_TITLES = {
    "ratio": "ratio: executed steps per round",
    "step_ratio": "ratio: all steps per round",
    "width": "width: most executions in a round",
    "rounds": "rounds",
    "coverage": "coverage: share of lines in a step",
}


def report_html(
    summary: CurationSummary,
    examples: Sequence[Recorded],
    manifest: Mapping[str, Any] | None = None,
    agreement: tuple[Agreement, str, str] | None = None,
) -> str:
    """The page. `manifest` tells how the run was made; `agreement` comes with the names of the two annotators."""
    about = manifest or {}
    return document(
        "Curation",
        [
            f"<header><h1>Curation</h1><p class='subtitle'>{escape(_subtitle(summary, about))}</p></header>",
            _cards(summary),
            f"<h2>Where the rows went</h2>{funnel(summary)}",
            _distributions(summary),
            _groups("level", summary.levels),
            _groups("subject", summary.subjects),
            _sequential(summary),
            _leaks(summary),
            _spending(summary),
            agreement_html(*agreement) if agreement else "",
            "<h2>Before and after</h2>",
            _legend() if examples else "<p class='fine'>No row was kept.</p>",
            *(_example(row, fold_lines(about)) for row in examples),
        ],
    )


def agreement_html(found: Agreement, first: str, second: str) -> str:
    """The section on two annotators."""
    rows = [(measure.name, measure.meaning, measure.value) for measure in measures(found, first, second)]
    note = f"<p>{escape(second)} against {escape(first)}, the reference, on the same traces.</p>"
    return f"<h2>Agreement</h2>{note}{table(['measure', 'meaning', 'value'], rows, text_columns=2)}"


def _subtitle(summary: CurationSummary, manifest: Mapping[str, Any]) -> str:
    who, code = annotator(manifest), manifest.get("code")
    version = code.get("version") if isinstance(code, Mapping) else None
    parts = [
        f"{summary.num_rows:,} row{'' if summary.num_rows == 1 else 's'}",
        f"annotator {who}" if who else "",
        f"lengths in {summary.sequential.unit}",
        f"sprint {version}" if version else "",
        f"run {manifest['hash']}" if manifest.get("hash") else "",
        f"{summary.seconds:,.1f} s" if summary.seconds else "",
    ]
    return " · ".join(part for part in parts if part)


def _cards(summary: CurationSummary) -> str:
    lengths, spending = summary.sequential, summary.spending
    found = [card(f"{summary.num_kept:,}", "rows kept", f"{summary.kept_share:.1%} of {summary.num_rows:,} read")]
    if summary.num_kept:
        small = f"{summary.mean_executions_kept:.1f} executions in {summary.mean_rounds_kept:.1f} rounds"
        found.append(card(f"{summary.mean_ratio_kept:.2f}", "executed steps per round, mean", small))
    if lengths.ratio is not None:
        small = f"{lengths.before:,} before, {lengths.after:,} after"
        found.append(card(f"{lengths.ratio:.0%}", f"of the {lengths.unit} are left in sequence", small))
    if spending.num_rows:
        each = f"{spending.cost / spending.num_rows:,.5f} a row" if spending.cost else "no prices given"
        value = f"{spending.cost:,.2f}" if spending.cost else f"{spending.usage.num_calls:,}"
        found.append(card(value, "spent on annotation" if spending.cost else "calls of the annotator", each))
    return cards(found)


def _distributions(summary: CurationSummary) -> str:
    titled = [(_TITLES[name], found) for name, found in summary.distributions.items() if found.total]
    if not titled:
        return "<h2>Shape</h2><p class='fine'>No trace was packed into rounds.</p>"
    if summary.sequential.ratios.total:
        titled.append((f"{summary.sequential.unit} after ÷ before", summary.sequential.ratios))
    key = "<p class='fine'>Rows by shape: <span class='key' style='background:var(--kept)'></span>kept"
    key += "<span class='key' style='background:var(--lost)'></span>dropped</p>"
    caption = (
        "Every trace that was annotated, the last chart kept rows only. A bar stands for all values from its start."
    )
    return f"<h2>Shape</h2>{key}{figure(distributions_figure(titled), caption)}"


def _groups(what: str, groups: Sequence[Group]) -> str:
    """Rounds and ratio per level or subject; nothing where none is known."""
    if not groups:
        return ""
    heads = [what, "rows", "packed", "kept", "kept, share", "rounds, packed", "ratio, packed"]
    heads += ["rounds, kept", "ratio, kept", "length after ÷ before"]
    return f"<h2>By {what}</h2>{table(heads, map(_group, groups))}"


def _group(group: Group) -> list[str]:
    rows = [f"{count:,}" for count in (group.num_rows, group.num_packed, group.num_kept)]
    means = (group.rounds_packed, group.ratio_packed, group.rounds_kept, group.ratio_kept)
    shares = [percent(share(group.num_kept, group.num_rows))]
    return [group.name, *rows, *shares, *(number(mean, 2) for mean in means), percent(group.sequential)]


def _sequential(summary: CurationSummary) -> str:
    lengths, kept = summary.sequential, summary.sequential.ratios.total
    if not kept:
        return ""
    rows = [
        ("the thought, as it was", f"{lengths.before:,}", f"{lengths.before / kept:,.0f}"),
        ("the longest path through its rounds", f"{lengths.after:,}", f"{lengths.after / kept:,.0f}"),
        ("after ÷ before", percent(lengths.ratio), percent(lengths.ratios.mean_kept)),
    ]
    note = (
        "What is waited for, over the kept rows. The path is that of an engine that starts an execution as soon as its "
        "prompt is written; tags count."
    )
    heads = [f"sequential {lengths.unit}", "in all", "mean per row"]
    return f"<h2>Sequential before and after</h2><p class='fine'>{note}</p>{table(heads, rows)}"


def _leaks(summary: CurationSummary) -> str:
    if not summary.num_added_edges:
        return ""
    text = (
        f"In {summary.num_leaky:,} kept rows an execution used what only a sibling of its round had produced; "
        f"{summary.num_added_edges:,} dependencies were added and the rows packed again."
    )
    return f"<h2>Sibling leaks</h2><p>{text}</p>"


def _spending(summary: CurationSummary) -> str:
    if not summary.spending.num_rows:
        return ""
    heads = ["annotation", "in all", "mean per row"]
    return f"<h2>What it cost</h2>{table(heads, _ledger(summary))}"


def _ledger(summary: CurationSummary) -> Iterator[tuple[str, str, str]]:
    """The lines of the ledger; – where the endpoint did not report it."""
    spending, usage = summary.spending, summary.spending.usage
    count = spending.num_rows
    yield "rows a model was asked about", f"{count:,}", ""
    for name, value in (
        ("calls answered", usage.num_calls),
        ("of them repairs", usage.num_repairs),
        ("attempts that failed", usage.num_failures),
        ("prompt tokens", usage.prompt_tokens),
        ("of them from a cache", usage.cached_tokens),
        ("output tokens", usage.output_tokens),
    ):
        mean = NOT_MEASURED if value is None else f"{value / count:,.1f}"
        yield name, NOT_MEASURED if value is None else f"{value:,}", mean
    yield "seconds of calls, summed", f"{usage.seconds:,.1f}", f"{usage.seconds / count:,.2f}"
    yield "cost", f"{spending.cost:,.4f}", f"{spending.cost / count:,.6f}"
    unit = "tokens" if summary.sequential.unit == "tokens" else "characters"
    yield f"output tokens ÷ {unit} of the traces", percent(spending.output_share), percent(spending.mean_share)


def _legend() -> str:
    text = (
        "On the left the raw thought, one row a line: its number, the step it opens, and the colour of the round that "
        "the step went to; planning lines are bold. On the right the same text packed into rounds."
    )
    samples = "".join(
        f"<span class='key' {hue(n).replace('--h', 'background:hsl(var(--h) 60% 50%);--h')}></span>round {n}"
        for n in (1, 2, 3, 4)
    )
    return f"<p class='fine'>{text}</p><p class='fine'>{samples} …</p>"


def _example(recorded: Recorded, folding: int) -> str:
    row, opened = recorded.row, view(recorded.row, folding)
    return (
        f"<h3>{escape(row.id)}</h3><pre class='question'>{escape(row.question)}</pre>"
        f"<p class='fine'>{counts(row)}, ratio {row.ratio:.2f}, answer {escape(row.answer)}</p><div class='pair'>"
        f"<div><h4>sequential</h4>{raw_lines(opened)}</div>"
        f"<div><h4>in rounds</h4><pre>{tagged(row.sprint_text)}</pre></div></div>"
    )
