"""The end of a run: from the record to the training sets, the counts, the report and the dataset card.

It reads the record once, in input order, and can be done again at any time: nothing is asked of a model. It checks that
every row of the inputs stands in the record exactly once. Knows what is written, not how a page or a card looks.
"""

from __future__ import annotations

import numpy as np

from pipelines.config import CurateConfig
from pipelines.record import checkpoint, manifest, parts
from pipelines.record.manifest import State
from pipelines.record.store import Store
from pipelines.scan import Scan
from pipelines.sets import Sets
from pipelines.views.card import card_text
from pipelines.views.compare import comparison
from pipelines.views.report import report_html
from pipelines.views.summary import CurationSummary, Tally
from pipelines.views.terminal import print_summary
from sprint.agreement import Agreement


def finish(config: CurateConfig, store: Store, scanned: Scan, seconds: float) -> CurationSummary:
    """Writes everything that is made from the record, prints the counts and returns them."""
    done, _ = checkpoint.done(store)
    assert np.array_equal(done, scanned.positions), "the record does not hold every row exactly once"
    about = manifest.load(store)
    if about["state"] == State.COMPLETE:  # what is about to be written again is not complete until it is
        store.write_json(manifest.NAME, about | {"state": str(State.RUNNING)})
    tally = Tally(config.seed, "tokens" if config.tokenizer else "characters")
    with _sets(config, store) as sets:
        for recorded in parts.in_order(store):
            sets.add(recorded)
            tally.add(recorded)
    summary = tally.summary(store.name, seconds)
    _write(config, store, summary, tally)
    print_summary(summary)
    if config.push:
        from pipelines.push import push

        push(store, config.push)
    return summary


def _sets(config: CurateConfig, store: Store) -> Sets:
    tokenizer = None
    if config.tokenizer:
        from sprint.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(config.tokenizer)
    return Sets(store, config.rows_per_file, config.fields, config.instruction == "sprint", tokenizer)


def _write(config: CurateConfig, store: Store, summary: CurationSummary, tally: Tally) -> None:
    """The pages, then the manifest: a folder whose manifest says `complete` is complete."""
    about = manifest.load(store)
    about |= {"state": str(State.COMPLETE), "finished": manifest.now(), "seconds": round(summary.seconds, 1)}
    about |= {"result": summary.as_dict()}
    agreement = _agreement(config, store)
    store.write("report.html", report_html(summary, tally.examples, about, agreement).encode())
    store.write("README.md", card_text(about, summary).encode())
    store.write_json(manifest.NAME, about)


def _agreement(config: CurateConfig, store: Store) -> tuple[Agreement, str, str] | None:
    """How far the annotations agree with those of the run that this one is to be compared with."""
    if not config.compare_with:
        return None
    found = comparison(Store(config.compare_with), store)
    return found.agreement, found.first, found.second
