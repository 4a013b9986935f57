"""Laws of one row and of two runs: every row can be found and shown whole, and a run agrees with itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.record.rows import Recorded
from pipelines.record.store import Store
from pipelines.views.compare import compare, comparison
from pipelines.views.config import CompareConfig, InspectConfig
from pipelines.views.graph import graph_svg
from pipelines.views.html import raw_lines
from pipelines.views.inspect import find, inspect
from pipelines.views.inspect_page import row_html
from pipelines.views.rowview import Role, StepView, view
from sprint import tags
from sprint.curate import Curated
from sprint.errors import InputError
from sprint.types import DropReason
from tests.unit.curated import ROWS, run_folder

# --- one row ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [*ROWS[:6], ROWS[7]], ids=lambda row: row.row.reason or "kept")
def test_a_row_laid_open_is_the_row(recorded: Recorded) -> None:
    row, opened = recorded.row, view(recorded.row)
    assert "".join(line.text for line in opened.lines) == row.reasoning
    assert (len(opened.steps), len(opened.rounds)) == (row.num_steps, row.num_rounds)
    assert sum(bool(step.prompt) for step in opened.steps) == row.num_executions
    assert all(line.role is not Role.NONE and line.step for line in opened.lines)
    if row.is_kept:
        assert opened.rounds == tags.parse(row.sprint_text).rounds


def test_a_row_that_was_never_annotated_says_why() -> None:
    opened = view(ROWS[6].row)
    assert opened.steps == ()
    assert "wrong answer" in opened.problem
    assert "wrong answer" in row_html(ROWS[6], opened)


def test_an_annotation_that_cannot_be_followed_still_marks_the_lines_it_names() -> None:
    broken = '{"steps":[{"plan":[1,2]},{"execution":[2,999],"instruction":"x"}],"parents":[[],[1]]}'
    opened = view(replace(ROWS[0].row, annotation=broken, reason=DropReason.BAD_RANGES, sprint_text=""))
    assert [line.step for line in opened.lines[:3]] == [1, 1, 2]
    assert "cannot be followed" in opened.problem
    assert "readable" in view(replace(ROWS[0].row, annotation="{")).problem


def test_every_link_of_a_page_leads_somewhere_on_it() -> None:
    page = row_html(ROWS[0], view(ROWS[0].row))
    targets, ids = set(re.findall(r"href='#([^']+)'", page)), re.findall(r" id='([^']+)'", page)
    assert len(targets) > len(ROWS[0].row.annotation) // 100
    assert targets <= set(ids)
    assert len(ids) == len(set(ids))


def test_edges_run_from_left_to_right_and_each_is_drawn() -> None:
    opened = view(ROWS[0].row)
    drawing = graph_svg(opened)
    edges = [path.group(1) for path in re.finditer(r"<path class='edge [^']*' d='([^']+)'", drawing)]
    assert len(edges) == sum(len(step.parents) for step in opened.steps)
    for edge in edges:
        places = [float(x) for x in re.findall(r"([\d.]+) [\d.]+(?=C| C| H|$)", edge)]
        assert places == sorted(places)
        assert len(places) > 1


def test_a_step_that_follows_a_plan_of_its_round_stands_to_the_right_of_it() -> None:
    opened = view(ROWS[0].row)
    lines = opened.steps[0].lines
    planned = StepView(1, 1, 0, (), lines)
    follower = StepView(2, 1, 1, (1,), lines, "do it", added=frozenset({1}))
    drawing = graph_svg(replace(opened, steps=(planned, follower)))
    first, second = re.findall(r"<rect x='(\d+)' y='[\d.]+' width='\d+' height='\d+' rx='6'", drawing)
    assert int(first) < int(second)
    assert "edge added" in drawing


def test_markup_in_a_line_of_the_trace_stays_text() -> None:
    row = ROWS[0].row
    word = row.reasoning.split()[1]
    opened = view(replace(row, reasoning=row.reasoning.replace(f" {word} ", f" <script>{word}</script> ", 1)))
    assert sum("<script>" in line.text for line in opened.lines) == 1
    assert f"&lt;script&gt;{word}&lt;/script&gt;" in raw_lines(opened)
    assert "<script" not in raw_lines(opened)


# --- finding ---------------------------------------------------------------------------------------------------------


def test_every_row_is_found_by_its_id_and_by_its_position(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run")
    for row in ROWS[:-1]:
        assert inspect(InspectConfig(run=run, id=row.row.id)) == row
        assert row.row.id in capsys.readouterr().out
    assert inspect(InspectConfig(run=run, id="#8")) == ROWS[-1]


def test_a_row_is_shown_from_question_to_final_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "row.html"
    inspect(InspectConfig(run=run_folder(tmp_path / "run"), id=ROWS[0].row.id, html=page))
    shown = capsys.readouterr().out
    order = [shown.index(f"{name} ─") for name in ("question", "trace", "steps", "graph", "round 1", "final answer")]
    assert order == sorted(order)
    assert "cost 0.002" in shown
    assert "Step 1: lines 1-2" in page.read_text(encoding="utf-8")


def test_a_row_as_json_has_every_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(InspectConfig(run=run_folder(tmp_path / "run"), id=ROWS[0].row.id, as_json=True))
    values = json.loads(capsys.readouterr().out)
    assert values["id"] == ROWS[0].row.id
    assert len(values["annotation"]["steps"]) == ROWS[0].row.num_steps
    assert values["exchanges"][0]["purpose"] == "steps"


def test_the_beginning_of_an_id_will_do_while_it_is_the_only_one(tmp_path: Path) -> None:
    ids = ("alpha-1", "alpha-2", "beta")
    rows = [replace(row, row=replace(row.row, id=id)) for row, id in zip(ROWS, ids, strict=False)]
    store = Store(run_folder(tmp_path / "run", rows))
    assert find(store, "be") == find(store, "beta")
    with pytest.raises(InputError, match=r"several ids .* begin with 'alpha-': alpha-2, alpha-1"):
        find(store, "alpha-")
    with pytest.raises(InputError, match="has no row 'betta'; did you mean 'beta'"):
        find(store, "betta")
    with pytest.raises(InputError, match="has no row '#77'"):
        find(store, "#77")


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no curation run"):
        inspect(InspectConfig(run=str(tmp_path), id="x"))


ORDERS = "\x1b]0;pwned\x07 \x9b31m \x7f \r"


def test_what_steers_a_terminal_does_nothing_in_a_row_that_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROWS[0].row
    texts = {name: f"{getattr(row, name)} {ORDERS}" for name in ("question", "answer", "detail", "level")}
    reasoning = row.reasoning.replace("\n", f" {ORDERS}\n", 1)
    sprint_text = row.sprint_text.replace("\n</Plan_1>", f" {ORDERS}\n</Plan_1>", 1)
    hostile = replace(row, id=f"a{ORDERS}", reasoning=reasoning, sprint_text=sprint_text, **texts)
    run = run_folder(tmp_path / "run", [Recorded(hostile, 0, ORDERS)])
    inspect(InspectConfig(run=run, id="#0"))
    shown = capsys.readouterr().out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert shown.count("\ufffd]0;pwned\ufffd") > 3
    inspect(InspectConfig(run=run, id="#0", as_json=True))
    written = capsys.readouterr().out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", written)
    assert json.loads(written)["id"] == hostile.id


# --- comparing -------------------------------------------------------------------------------------------------------


def test_a_run_agrees_with_itself_wherever_its_rows_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run_folder(tmp_path / "a"), run_folder(tmp_path / "b", ROWS[::-1])
    found = compare(CompareConfig(first=first, second=second, out=tmp_path / "agreement.json"))
    assert (found.num_joined, found.num_compared, found.kept) == (8, 7, (6, 0, 0, 2))
    assert (found.agreement.boundaries.f1, found.agreement.edges.f1, found.agreement.windowdiff) == (1.0, 1.0, 0.0)
    assert json.loads((tmp_path / "agreement.json").read_text())["agreement"]["edges"]["f1"] == 1.0
    assert "WindowDiff" in capsys.readouterr().out


def test_what_one_run_drops_and_the_other_keeps_is_counted(tmp_path: Path) -> None:
    row = ROWS[0].row
    dropped = Curated(row.id, row.question, reason=DropReason.LOW_RATIO, digest=row.digest)
    runs = run_folder(tmp_path / "a"), run_folder(tmp_path / "b", [replace(ROWS[0], row=dropped)])
    found = compare(CompareConfig(first=runs[0], second=runs[1], out=tmp_path / "agreement.html"))
    assert (found.num_joined, found.num_compared, found.kept) == (1, 0, (0, 1, 0, 0))
    assert "</html>" in (tmp_path / "agreement.html").read_text()


def test_a_duplicate_does_not_stand_for_the_row_that_it_repeats(tmp_path: Path) -> None:
    row = ROWS[0].row
    twin = Curated("twin", row.question, reason=DropReason.DUPLICATE, digest=row.digest)
    both = [Recorded(twin, 1, "b"), replace(ROWS[0], position=0), Recorded(twin, 2, "c")]
    for number, rows in enumerate((both, both[::-1], both[1:], both[:2])):
        run = run_folder(tmp_path / str(number), rows)
        found = compare(CompareConfig(first=run, second=run))
        assert (found.num_joined, found.num_compared, found.kept) == (1, 1, (1, 0, 0, 0))


def test_the_keys_in_an_address_stand_in_no_message(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / str(number), rows) for number, rows in enumerate((ROWS[:2], ROWS[2:4]))]
    one, other, empty = (Store(run) for run in (*runs, str(tmp_path / "none")))
    for store in (one, other, empty):
        store.place = f"s3://KEY:SECRET@bucket{store.place}?endpoint_override=SECRET"
    said = []
    for fail in (lambda: comparison(one, other), lambda: find(one, "nothing"), lambda: find(empty, "x")):
        with pytest.raises(InputError) as caught:
            fail()
        said.append(str(caught.value))
    clones = [replace(ROWS[0], row=replace(ROWS[0].row, id=f"twin-{n}"), position=n) for n in range(2)]
    one = Store(run_folder(tmp_path / "twins", clones))
    one.place = other.place
    with pytest.raises(InputError) as caught:
        find(one, "twin")
    said.append(str(caught.value))
    assert all("s3://bucket/" in sentence and "SECRET" not in sentence for sentence in said)


def test_runs_without_a_trace_in_common_are_not_compared(tmp_path: Path) -> None:
    first, second = run_folder(tmp_path / "a", ROWS[:2]), run_folder(tmp_path / "b", ROWS[2:4])
    with pytest.raises(InputError, match="no trace in common"):
        compare(CompareConfig(first=first, second=second))
    with pytest.raises(InputError, match=r"expected a \.json or \.html file"):
        compare(CompareConfig(first=first, second=second, out=tmp_path / "x.txt"))
