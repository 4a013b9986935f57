"""Laws of the counts and the pages made of them: every row is counted once, every page stands alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
import yaml

from pipelines.config import CurateConfig
from pipelines.record import manifest
from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from pipelines.sets import Sets
from pipelines.views.agreement import measures
from pipelines.views.card import card_text
from pipelines.views.counters import MAX_GROUPS, OTHER, Histogram
from pipelines.views.funnel import STAGES, falls
from pipelines.views.inspect_page import row_html
from pipelines.views.report import report_html
from pipelines.views.rowview import view
from pipelines.views.summary import Tally
from pipelines.views.terminal import print_summary
from sprint.agreement import Agreement
from sprint.curate import malformed
from sprint.dialogue import DialogueOptions
from sprint.requests import Exchange, Purpose
from sprint.types import DropReason
from tests.unit.curated import ROWS, SPENT, run_folder, summarise

EVIL = "<script>alert('&')</script>"


def _page(rows: Sequence[Recorded]) -> str:
    summary, tally = summarise(rows)
    return report_html(summary, tally.examples, {"settings": {"fold_lines": 3}, "annotator": {"name": "rules"}})


# --- counting --------------------------------------------------------------------------------------------------------


def test_every_row_is_counted_once() -> None:
    summary, _ = summarise(ROWS)
    assert (summary.num_rows, summary.num_kept) == (9, 6)
    assert summary.dropped == {
        DropReason.MALFORMED_ROW: 1,
        DropReason.WRONG_ANSWER: 1,
        DropReason.LOW_RATIO: 1,
    }
    for found in summary.distributions.values():
        assert (sum(found.kept.values()), sum(found.dropped.values())) == (6, 1)
    assert sum(group.num_rows for group in summary.levels) == 8
    assert summary.sequential.before == sum(row.row.sequential_before for row in ROWS if row.row.is_kept)
    assert summary.first_details[DropReason.MALFORMED_ROW] == ("", "no question")


def test_the_manifest_knows_no_clock_and_no_place() -> None:
    late = [replace(row, row=replace(row.row, usage=replace(row.row.usage, seconds=9.9))) for row in ROWS]
    one, other = summarise(ROWS)[0], summarise(late, "elsewhere", 99.0)[0]
    assert json.dumps(one.as_dict()) == json.dumps(other.as_dict())
    assert "elsewhere" not in json.dumps(other.as_dict())


def test_what_annotating_cost_adds_up_over_the_rows_that_were_asked_about() -> None:
    spending = summarise(ROWS)[0].spending
    assert (spending.num_rows, spending.usage, spending.cost) == (1, SPENT, 0.002)
    assert spending.output_share == pytest.approx(50 / ROWS[0].row.sequential_before)
    unknown = replace(ROWS[1], row=replace(ROWS[1].row, usage=replace(SPENT, cached_tokens=None)))
    assert summarise([ROWS[0], unknown])[0].spending.usage.cached_tokens is None


def test_counters_do_not_grow_with_their_input() -> None:
    tally = Tally()
    for number in range(3000):
        row = replace(ROWS[0].row, level=f"level {number}", ratio=float(number), digest=str(number))
        tally.add(Recorded(row, number, ""))
    summary = tally.summary("out", 0.0)
    assert len(summary.levels) == MAX_GROUPS + 1
    assert (summary.levels[-1].name, summary.levels[-1].num_rows) == (OTHER, 3000 - MAX_GROUPS)
    assert len(summary.distributions["ratio"].kept) < 20
    assert len(tally.examples) < 5


def test_the_last_bin_is_open_and_the_first_bin_of_a_value_holds_it() -> None:
    histogram = Histogram(0.5, 2.0)
    for value in (0.0, 0.49, 0.5, 1.99, 2.0, 70.0):
        histogram.add(value)
    assert histogram.distribution().kept == {0.0: 2, 0.5: 1, 1.5: 1, 2.0: 2}


def test_the_funnel_knows_every_reason_once_and_ends_at_what_was_kept() -> None:
    reasons = [reason for stage in STAGES.values() for reason in stage]
    assert sorted(reasons) == sorted(DropReason)
    summary, _ = summarise(ROWS)
    assert [fall.left for fall in falls(summary)] == [8, 7, summary.num_kept]


def test_the_terminal_shows_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(summarise(ROWS)[0])
    shown = capsys.readouterr().out
    assert re.search(r"kept\s+│\s+6\b", shown)
    assert "2 calls, 900 prompt tokens (300 cached), 50 output tokens" in shown


# --- pages -----------------------------------------------------------------------------------------------------------


def _hostile() -> list[Recorded]:
    """A kept and a dropped row with markup wherever data can stand."""
    text = {name: f"{getattr(ROWS[0].row, name)} {EVIL}" for name in ("id", "question", "answer", "reasoning")}
    kept = replace(ROWS[0].row, **text, annotation="", sprint_text=EVIL, level=EVIL, subject=EVIL)
    dropped = malformed(EVIL, EVIL)
    reply = Exchange("key", Purpose.STEPS, EVIL)
    return [Recorded(kept, 0, EVIL, (reply,)), Recorded(dropped, 1, EVIL)]


def test_markup_in_the_data_stays_text() -> None:
    rows = _hostile()
    pages = [_page(rows), *(row_html(row, view(row.row)) for row in rows)]
    for page in pages:
        assert "&lt;script&gt;" in page
        assert "<script" not in page


def test_pages_stand_alone() -> None:
    for page in (_page(ROWS), row_html(ROWS[0], view(ROWS[0].row))):
        assert not re.search(r"(?:src|href)='?\"?(?:https?:|//|\.)|@import|url\((?!#)", page)


@pytest.mark.parametrize("rows", [[], ROWS[-1:], ROWS[:1], ROWS[7:8], ROWS[6:7]], ids=len)
def test_small_runs_have_a_page_too(rows: list[Recorded]) -> None:
    page = _page(rows)
    assert page.endswith("</html>\n")
    assert f"{sum(row.row.is_kept for row in rows)}</b><span>rows kept" in page
    assert "nan" not in page.lower().replace("nance", "")


def test_the_same_rows_give_the_same_page() -> None:
    assert _page(ROWS) == _page(ROWS)


def test_a_page_shows_the_agreement_it_is_given() -> None:
    summary, tally = summarise(ROWS)
    page = report_html(summary, tally.examples, {}, (Agreement(num_traces=3), "rules", "a model"))
    assert "a model against rules" in page
    assert all(escape(measure.name) in page for measure in measures(Agreement(), "rules", "a model"))


# --- the card --------------------------------------------------------------------------------------------------------


def test_the_card_names_both_sets_and_what_made_them() -> None:
    settings = {"min_ratio": 1.5, "fields": ["text"], "contamination": []}
    text = card_text({"settings": settings, "annotator": {"name": "rules", "prompts": "beef"}}, summarise(ROWS)[0])
    front = yaml.safe_load(text.split("---\n")[1])
    assert {config["config_name"]: config["data_files"][0]["path"] for config in front["configs"]} == {
        "sprint": "sprint/*.parquet",
        "rft": "rft/*.parquet",
    }
    assert "| low ratio | 1 | 11.1 % |" in text
    assert "| prompts (hash) | beef |" in text
    assert "`text`" in text
    assert "`messages`" not in text


def test_markup_in_the_settings_stays_text_in_the_card() -> None:
    settings = {"contamination": [EVIL, "![x](http://tracker/y.png)\n# no heading"], "tokenizer": EVIL}
    about = {"name": EVIL, "model": EVIL, "prompts": EVIL}
    manifest = {"settings": settings, "annotator": about, "code": {"version": EVIL, "commit": EVIL}, "hash": EVIL}
    text = card_text(manifest, summarise(ROWS)[0])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5
    assert "!\\[x\\](http" in text
    assert "\n# no heading" not in text


def test_a_set_is_cut_by_the_size_of_its_texts_and_tokens_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [row for row in ROWS if row.row.is_kept]
    one = len(kept[0].row.sprint_text.encode())

    def files(most_bytes: int, *fields: str) -> int:
        monkeypatch.setattr("pipelines.sets._MOST_BYTES", most_bytes)
        store = Store(str(tmp_path / f"{most_bytes}-{len(fields)}"))
        with Sets(store, 1000, fields, True, None) as sets:
            for _ in range(4):
                sets.add(kept[0])
        return len(store.names("sprint"))

    assert files(100 * one, "text") == 1
    assert files(int(3.5 * one), "text") < files(int(3.5 * one), "text", "messages")  # holds the text twice
    assert files(int(3.5 * one), "text") < files(int(3.5 * one), "text", "tokens")


def test_datasets_loads_both_sets_of_a_run_with_its_card(tmp_path: Path) -> None:
    import datasets

    store = Store(run_folder(tmp_path / "run"))
    summary, _ = summarise(ROWS)
    with Sets(store, 4, ("text", "messages"), True, None) as sets:
        for row in ROWS:
            sets.add(row)
    store.write("README.md", card_text({}, summary).encode())
    for name in ("sprint", "rft"):
        found = datasets.load_dataset(store.place, name, split="train", cache_dir=str(tmp_path / "cache"))
        assert found["id"][:] == [row.row.id for row in ROWS if row.row.is_kept]


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_a_manifest_names_the_sources_that_curated() -> None:
    config = CurateConfig(inputs=("traces.jsonl",))
    code = manifest.new(config, [], [], DialogueOptions())["code"]
    assert code["sources"] != hashlib.sha256(b"").hexdigest()[:16]
