"""The page and its twins: everything is in them, escaped, and traces to a file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from sprint.evals.blocks import Row, Table
from sprint.evals.config import ReportConfig
from sprint.evals.html import blocks_as_html
from sprint.evals.page import markdown, page
from sprint.evals.report import make_report, report
from sprint.evals.summary import summarise
from sprint.evals.table import print_table
from tests.unit.evaluated import results, write, wrong


class _Outline(HTMLParser):
    """The tags of a page, and that every one is closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> _Outline:
    parser = _Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_stands_alone_and_holds_every_part(reported: Path) -> None:
    text = (reported / "page.html").read_text()
    outline(text)
    for part in (
        "The paper&#x27;s table",
        "Accuracy against sequential tokens",
        "Accuracy against seconds",
        "Savings by length",
        "One problem on the clock",
        "Prompts per round",
        "Stragglers",
        "Prefill and cache",
        "Every counter",
        "Sources",
        "the ratio follows from how",
    ):
        assert part in text
    assert text.count("<svg") == 6
    for outside in ("<script", "src=", "@import", "<link", "url(http"):
        assert outside not in text


def test_the_same_runs_give_the_same_page(reported: Path) -> None:
    again = make_report(ReportConfig(runs=[reported / "sprint.jsonl", reported / "rft.jsonl"]))
    assert page(again) == (reported / "page.html").read_text()
    assert markdown(again) == (reported / "page.md").read_text()
    assert json.loads(json.dumps(again.as_dict())) == json.loads((reported / "page.json").read_text())


def test_the_json_holds_the_numbers_and_none_of_the_texts(reported: Path) -> None:
    text = (reported / "page.json").read_text()
    read = json.loads(text)
    assert read["comparisons"][0]["ratios"]["pipelined_tokens"]["value"] == pytest.approx(0.5, abs=0.05)
    assert read["runs"][0]["accuracy_interval"]["low"] == pytest.approx(0.8389, abs=1e-4)
    assert "<Plan_1>" not in text


_HOSTILE = "</pre><script>alert(1)</script> | `x` [link](http://a) $\\frac{1}{0}$ ```\n# not a heading"


def test_no_text_of_a_run_becomes_markup(tmp_path: Path) -> None:
    names = ("question", "gold", "task", "level", "grader", "reasoning", "answer", "stop_reason", "error", "model")
    bad = [wrong(r, _HOSTILE) for r in results("sprint", **dict.fromkeys(names, _HOSTILE))]
    bad = [replace(r, label=f"<i>{_HOSTILE}", other_grades={_HOSTILE + "2": True}) for r in bad]
    paths = [write(tmp_path / "bad.jsonl", bad)]
    paths.append(write(tmp_path / "rft.jsonl", results("rft", question=_HOSTILE, task=_HOSTILE)))
    report(ReportConfig(runs=paths, out=tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "script" not in outline(text).seen
    assert "i" not in outline(text).seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    outside = _outside_fences((tmp_path / "page.md").read_text()).split("## Sources")[0]
    assert "alert" in outside
    assert not re.search(r"(?<!\\)[<`]|(?<!\\)\]\(|^# not a heading", outside, re.MULTILINE)


def _outside_fences(text: str) -> str:
    kept, fence = [], ""
    for line in text.splitlines():
        ticks = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif ticks:
            fence = ticks[0]
        else:
            kept.append(line)
    return "\n".join(kept)


def test_the_markdown_has_the_papers_table_and_its_columns_agree(reported: Path) -> None:
    text = (reported / "page.md").read_text()
    assert text.startswith("# SPRINT\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any("sprint: n = 20" in row for row in rows)
    followed = [(a, b) for a, b in pairwise(text.splitlines()) if a.startswith("|") and b.startswith("|")]
    assert all(_columns(a) == _columns(b) for a, b in followed)


def _columns(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row))


def test_an_interval_stands_under_its_number_and_nothing_else_does() -> None:
    (made,) = blocks_as_html([Table(("a", "b"), (Row(("x", "5 % [1–9]")), Row(("y", "[<b>] 7"))))])
    assert "<td>5 %<small>[1–9]</small></td>" in made
    assert "<td>[&lt;b&gt;] 7</td>" in made


@pytest.mark.parametrize("label", ["[red]a[/red]", "[/b]", "[link=http://a]b"])
def test_a_runs_name_is_no_markup_on_the_terminal(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table([summarise(results(label))])
    assert label in capsys.readouterr().out
