"""The report: what is compared with what, what it says, that everything in it is escaped and traces to a file."""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from sprint.config import validate
from sprint.errors import ConfigError, InputError
from sprint.evals.bins import Bins, Source, in_order, independent_bins, own_bins
from sprint.evals.blocks import Row, Table
from sprint.evals.comparison import compare
from sprint.evals.config import ReportConfig
from sprint.evals.cost import cost
from sprint.evals.failures import gallery, kind_of
from sprint.evals.findings import votes
from sprint.evals.grading import disagreements, grader_rows, grader_tests
from sprint.evals.html import blocks_as_html
from sprint.evals.page import markdown, page
from sprint.evals.pareto import frontier, points
from sprint.evals.pattern import pattern, shape, stragglers
from sprint.evals.repeats import Votes
from sprint.evals.report import make_report, report
from sprint.evals.results import Result, read_results
from sprint.evals.runs import Run, RunFile, read_run, read_runs
from sprint.evals.savings import savings
from sprint.evals.sections.overview import paper_table
from sprint.evals.summary import accuracy_bootstrap, summarise
from sprint.evals.table import lines, number, print_table, saved
from sprint.evals.words import verdict
from sprint.files import write_jsonl
from sprint.requests import Prices
from sprint.tasks import Grade
from sprint.usage import Usage
from tests.unit.evaluated import results, write


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished report on the files sprint.jsonl and rft.jsonl: page.html, page.md, page.json."""
    folder = tmp_path_factory.mktemp("report")
    paths = [write(folder / f"{label}.jsonl", results(label)) for label in ("sprint", "rft")]
    report(ReportConfig(runs=paths, out=folder / "page.html"))
    return folder


def wrong(result: Result, answer: str = "\\boxed{2}") -> Result:
    return replace(result, grade=Grade.WRONG_VALUE, answer=answer)


def as_run(made: list[Result]) -> Run:
    return Run((), made)


# --- files and runs --------------------------------------------------------------------------------------------------


def test_a_result_survives_the_file(tmp_path: Path) -> None:
    made = results("sprint", level="3", other_grades={"exact match": True}, sample=2)
    assert read_results(write(tmp_path / "r.jsonl", made)) == made


def test_every_number_traces_to_a_file_by_its_hash(made: Path) -> None:
    for label, run in zip(("sprint", "rft"), json.loads((made / "page.json").read_text())["runs"], strict=True):
        path = made / f"{label}.jsonl"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert run["files"] == [{"path": str(path), "sha256": digest, "num_rows": 20, "seeds": [0]}]
        for name in ("page.html", "page.md"):
            assert digest in (made / name).read_text()
            assert path.name in (made / name).read_text()


def test_every_drawing_and_table_names_its_sources_and_its_n(made: Path) -> None:
    text = (made / "page.html").read_text()
    drawn = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    tables = re.findall(r"</table></div><p class=fine>(.*?)</p>", text)
    assert (len(drawn), len(tables)) == (text.count("<figure>"), text.count("<table>"))
    assert all("href='#run-" in caption for caption in drawn + tables)
    assert all(re.search(r"\bn = [0-9]|\bn under each bin", caption) for caption in drawn)


def test_files_with_other_seeds_are_samples_of_one_run(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.jsonl", results("sprint", seed=seed)) for seed in (0, 1)]
    (run,) = read_runs(paths)
    assert [file.seeds for file in run.files] == [(0,), (1,)]
    summary = summarise(run.results)
    assert (summary.num_problems, summary.num_samples) == (20, 40)


def test_the_same_sample_twice_is_refused(tmp_path: Path) -> None:
    made = results("sprint", 2)
    with pytest.raises(InputError, match="holds sample 1 of problem '0' twice"):
        read_run(write(tmp_path / "r.jsonl", [*made, made[0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "holds no results"),
        ('{"id": "1"}\n', "row 1 is not an evaluation result"),
        ("{broken\n", "line 1 is broken JSON"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "run.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        make_report(ReportConfig(runs=[path]))


def test_runs_that_cannot_be_compared_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", results("other", task="countdown"))
    with pytest.raises(InputError, match="expected one task"):
        make_report(ReportConfig(runs=[runs[0], other]))
    with pytest.raises(InputError, match="both labelled"):
        make_report(ReportConfig(runs=[runs[0], runs[0]]))
    with pytest.raises(InputError, match="share no problem"):
        compare(results("sprint"), results("rft", id="elsewhere"))
    with pytest.raises(InputError, match="different questions"):
        compare(results("sprint"), results("rft", question="another"))
    with pytest.raises(InputError, match="baseline is 'gpt', expected the label of a run: sprint, rft"):
        make_report(ReportConfig(runs=runs, baseline="gpt"))
    with pytest.raises(ConfigError, match=r"ending in \.html"):
        report(ReportConfig(runs=runs, out=tmp_path / "page.pdf"))


@pytest.mark.parametrize("edges", [[1.0, 2.0], [0.0, 5.0, 5.0], [3.0, 2.0, 1.0]])
def test_edges_that_make_no_bins_are_refused(edges: list[float]) -> None:
    with pytest.raises(ConfigError, match="at least three edges, each above the one before"):
        validate(ReportConfig, {"runs": ["a"], "bin_edges": edges}, "options")


# --- comparison ------------------------------------------------------------------------------------------------------


def test_the_sequential_run_is_the_baseline_whatever_the_order(runs: list[Path]) -> None:
    for order in (runs, runs[::-1]):
        comparison = make_report(ReportConfig(runs=order)).comparisons[0]
        assert (comparison.label, comparison.baseline) == ("sprint", "rft")
    asked = make_report(ReportConfig(runs=runs, baseline="sprint")).comparisons[0]
    assert (asked.label, asked.baseline) == ("rft", "sprint")


def test_one_run_alone_has_a_page_without_comparison(runs: list[Path], tmp_path: Path) -> None:
    result = report(ReportConfig(runs=runs[:1], out=tmp_path / "page.html"))
    assert result.comparisons == []
    assert result.savings == []


def test_only_problems_that_both_answered_are_paired() -> None:
    mine = results("sprint")
    mine[0] = results("sprint", 1, usage=None, grade=None)[0]
    comparison = compare(mine, results("rft", 15))
    assert (comparison.num_pairs, comparison.num_shared) == (14, 15)
    assert (comparison.better, comparison.worse) == (0, 1)


def test_the_two_clocks_are_kept_apart_and_no_clock_is_no_time() -> None:
    alone, busy = results("sprint", 4, wall_s=1.0, concurrency=1), results("sprint", 6, wall_s=5.0, concurrency=8)
    busy = [replace(result, id=f"busy {result.id}") for result in busy]
    counters = summarise([*alone, *busy]).counters
    assert (counters["wall_alone_s"], counters["wall_s"]) == (1.0, 5.0)
    slower = [replace(result, label="rft", wall_s=2 * result.wall_s) for result in (*alone, *busy)]
    ratio = compare([*alone, *busy], slower).ratios["wall_alone_s"]
    assert ratio is not None
    assert ratio.value == 0.5
    assert compare(busy, slower).ratios["wall_alone_s"] is None
    imported = summarise(results("sprint", wall_s=0.0)).counters
    assert imported["wall_s"] is imported["wall_alone_s"] is None


def test_runs_that_never_differ_are_not_called_equal_to_a_point() -> None:
    comparison = compare(results("sprint", 60), results("rft", 60))
    assert comparison.accuracy.interval.low == comparison.accuracy.interval.high == 0.0
    assert comparison.accuracy_interval.low < -0.04
    assert comparison.accuracy_interval.high > 0.04
    (said, *_) = verdict(comparison)
    assert "sprint 100.0 %, rft 100.0 %" in said
    assert "is not significant at the 5 % level (exact McNemar test" in said


def test_a_real_difference_is_called_significant_and_a_corrected_one_is_not() -> None:
    bad = [wrong(r) if int(r.id) < 8 else r for r in results("rft")]
    comparison = compare(results("sprint"), bad)
    assert comparison.is_significant
    assert "The difference is significant at the 5 % level" in verdict(comparison)[0]
    corrected = replace(comparison, p_adjusted=0.2)
    assert "is not significant" in verdict(corrected, 3)[0]
    assert "Holm's correction for 3 comparisons p = 0.2" in verdict(corrected, 3)[0]


def test_several_comparisons_are_corrected_for_being_several(runs: list[Path], tmp_path: Path) -> None:
    bad = [wrong(r) if int(r.id) < 6 else r for r in results("bad")]
    worse = [wrong(r) if int(r.id) < 8 else r for r in results("worse")]
    paths = [*runs, write(tmp_path / "bad.jsonl", bad), write(tmp_path / "worse.jsonl", worse)]
    found = {one.label: one for one in make_report(ReportConfig(runs=paths)).comparisons}
    assert found["worse"].p_adjusted == pytest.approx(3 * found["worse"].p_value)
    assert found["bad"].p_adjusted == pytest.approx(2 * found["bad"].p_value)
    assert found["bad"].p_value < 0.05 < found["bad"].p_adjusted


def test_every_problem_weighs_the_same_however_many_samples_it_has() -> None:
    once = results("sprint", 2)
    many = [once[0], *(wrong(replace(once[1], sample=i)) for i in range(1, 9))]
    summary = summarise(many)
    assert summary.accuracy == 0.5
    around = accuracy_bootstrap(many)
    assert (around.low, around.high) == (0.0, 1.0)
    assert compare(many, results("rft", 2)).test == "exact sign-flip test over problems"


def test_the_papers_table_has_a_row_for_each_run_and_compares_all_but_the_baseline(runs: list[Path]) -> None:
    table = paper_table(make_report(ReportConfig(runs=runs)))
    assert [row.cells[0] for row in table.rows] == ["sprint", "rft"]
    assert all(len(row.cells) == len(table.heads) for row in table.rows)
    assert re.fullmatch(r"4\d\.\d % \[4\d\.\d to 5\d\.\d\]", table.rows[0].cells[table.heads.index("saved")])
    assert table.rows[1].cells[-2:] == ("", "")


def test_what_is_not_reported_is_a_dash_and_never_zero() -> None:
    usage = Usage(pipelined_tokens=5, generated_tokens=5, cached_prompt_tokens=None, prompt_tokens=10)
    table = {line.name: line.cells for line in lines([summarise(results("rft", usage=usage))], [])}
    assert table["prompt, cached"] == table["prefix hit rate"] == ("–",)
    assert "prompt, computed" not in table
    assert number(0.0) == "0"
    assert number(-1234.0) == "\u22121,234"
    assert saved(None) == "–"


# --- bins ------------------------------------------------------------------------------------------------------------


def test_bins_come_from_a_held_out_run_then_from_levels_then_from_questions() -> None:
    runs = [as_run(results("sprint")), as_run(results("rft"))]
    by_question = independent_bins(runs, None)
    assert by_question is not None
    assert by_question.source is Source.QUESTION
    levelled = [as_run([replace(r, level=str(1 + int(r.id) % 3)) for r in run.results]) for run in runs]
    by_level = independent_bins(levelled, None)
    assert by_level is not None
    assert (by_level.source, by_level.titles) == (Source.LEVEL, ("level 1", "level 2", "level 3"))


def test_a_held_out_run_chooses_the_bins(runs: list[Path], tmp_path: Path) -> None:
    held_out = write(tmp_path / "other.jsonl", results("other seed"))
    found = make_report(ReportConfig(runs=runs, lengths=held_out))
    assert [one.bins.source for one in found.savings] == [Source.HELD_OUT, Source.OWN, Source.OWN]
    assert [run.label for run in found.sources] == ["sprint", "rft", "other seed"]
    assert sum(row.num_answered for row in found.savings[0].rows) == 20
    with_edges = make_report(ReportConfig(runs=runs, lengths=held_out, bin_edges=[0, 105, 1000]))
    assert [row.title for row in with_edges.savings[0].rows] == ["0–105", "105–1,000"]


def test_a_held_out_run_that_is_compared_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrote exactly as much as the run 'rft'"):
        make_report(ReportConfig(runs=runs, lengths=runs[1]))
    renamed = [replace(result, label="another") for result in results("rft")]
    with pytest.raises(InputError, match="wrote exactly as much as the run 'rft'"):
        make_report(ReportConfig(runs=runs, lengths=write(tmp_path / "renamed.jsonl", renamed)))
    elsewhere = [replace(result, id=f"x{result.id}") for result in results("other")]
    with pytest.raises(InputError, match="answers none of the problems"):
        make_report(ReportConfig(runs=runs, lengths=write(tmp_path / "elsewhere.jsonl", elsewhere)))


def test_a_runs_own_length_is_always_called_biased(made: Path) -> None:
    text = (made / "page.html").read_text()
    assert "Biased bins: tokens that rft generated" in text
    assert "Biased bins: tokens that sprint generated" in text
    assert text.index("Independent bins:") < text.index("Biased bins:")


def test_where_nothing_is_independent_the_report_says_so(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{label}.jsonl", results(label, question="q")) for label in ("sprint", "rft")]
    assert "so only the biased bins can be shown" in _text(*paths)
    flat = Usage(pipelined_tokens=5, generated_tokens=5)
    paths = [write(path, results(path.stem, question="q", usage=flat)) for path in paths]
    assert "The problems are all equally long" in _text(*paths)


def test_twins_save_nothing_by_an_independent_length_and_much_by_their_own() -> None:
    """Regression to the mean: both runs are one and the same noise, so that any saving is a sham."""
    honest, sham = zip(*map(_twins, range(6)), strict=True)
    assert abs(fmean(honest) - 1) < 0.1
    assert max(sham) < 0.8


def _twins(seed: int) -> tuple[float, float]:
    """The ratio in the longest bin, by a third such run and by the baseline's own length."""
    dice = random.Random(seed)
    means = [dice.choice((500, 1000, 2000)) for _ in range(400)]

    def sampled(label: str) -> Run:
        tokens = [round(mean * dice.lognormvariate(0, 0.5)) for mean in means]
        usages = [Usage(pipelined_tokens=count, generated_tokens=count) for count in tokens]
        return as_run([Result(str(i), "q", "1", "t", label, "m", usage=usage) for i, usage in enumerate(usages)])

    mine, theirs = sampled("mine"), sampled("theirs")
    held_out = Run((RunFile("held.jsonl", "0" * 64, 400, (0,)),), sampled("held out").results)
    return _last(mine, theirs, independent_bins([mine, theirs], held_out)), _last(mine, theirs, own_bins(theirs))


def _last(mine: Run, theirs: Run, bins: Bins | None) -> float:
    assert bins is not None
    ratio = savings(mine.results, theirs.results, bins).rows[-1].ratio
    assert ratio is not None
    return ratio.value


def test_levels_are_in_order_of_their_numbers() -> None:
    assert in_order(["10", "2", "hard", "1", "2"]) == ["1", "2", "10", "hard"]


# --- rounds ----------------------------------------------------------------------------------------------------------


def test_the_shape_of_what_was_written_is_read_back() -> None:
    (result,) = results("sprint", 1)
    assert shape(result.reasoning).prompts == (2, 1)
    first, second = shape(result.reasoning).lengths
    assert first[1] - first[0] == 10
    assert len(second) == 1
    assert shape("no tags at all").prompts == ()


@pytest.mark.parametrize("end", range(0, 400, 7))
def test_a_text_that_breaks_off_anywhere_has_a_shape(end: int) -> None:
    (result,) = results("sprint", 1)
    prompts = shape(result.reasoning[:end]).prompts
    assert len(prompts) <= 2
    assert all(count <= most for count, most in zip(prompts, (2, 1), strict=False))


def test_the_pattern_counts_rollouts_prompts_and_levels() -> None:
    made = [replace(r, level=str(1 + int(r.id) % 2)) for r in results("sprint", 6)]
    found = pattern(made)
    assert found is not None
    assert (found.levels, found.num_rollouts) == (("1", "2"), (3, 3))
    assert found.reached == ((3, 3), (3, 3))
    assert found.several == ((3, 0), (3, 0))
    assert found.prompts == ((6, 3), (6, 3))
    assert pattern(results("rft")) is None


def test_stragglers_are_measured_by_tokens_where_timelines_say_them_else_by_text() -> None:
    spans = tuple({"kind": "execution", "round": 1, "number": k, "generated_tokens": n} for k, n in ((1, 10), (2, 30)))
    timed = stragglers(results("sprint", 4, timeline=spans))
    assert timed is not None
    assert (timed.unit, timed.mean, timed.median) == ("tokens", 1.5, 1.5)
    written = stragglers(results("sprint", 4, timeline=()))
    assert written is not None
    assert written.unit == "characters"
    assert 1.0 < written.mean < 2.0
    assert stragglers(results("rft")) is None


# --- answers ---------------------------------------------------------------------------------------------------------


def test_wrong_answers_vote_together_when_they_are_equal() -> None:
    (right,) = results("sprint", 1)
    samples = [right, wrong(right, "\\boxed{0.50}"), wrong(right, "\\boxed{\\frac12}"), wrong(right, "no idea")]
    assert votes(samples) == Votes(1, (2,), 1)


def test_several_samples_have_their_table_and_one_sample_has_none(runs: list[Path], tmp_path: Path) -> None:
    assert "maj@k" not in _text(*runs)
    many = [replace(wrong(r) if i == 1 else r, sample=i) for i in (1, 2, 3) for r in results("many")]
    text = _text(*runs, write(tmp_path / "many.jsonl", many))
    assert "maj@k" in text
    assert "60 samples" in text


def test_what_is_cached_is_charged_as_cached_and_what_is_not_known_in_full() -> None:
    usage = Usage(prompt_tokens=1000, cached_prompt_tokens=400, generated_tokens=100)
    prices = Prices(prompt=2.0, output=10.0, cached=0.5)
    found = cost(results("sprint", usage=usage), prices)
    assert found is not None
    assert found.per_sample.value == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    assert found.per_right == pytest.approx(found.per_sample.value)
    unknown = cost(results("sprint", usage=replace(usage, cached_prompt_tokens=None)), prices)
    assert unknown is not None
    assert not unknown.cache_known
    assert unknown.per_sample.value == pytest.approx((1000 * 2 + 100 * 10) / 1e6)
    none_right = cost([wrong(result) for result in results("sprint", usage=usage)], prices)
    assert none_right is not None
    assert none_right.per_right is None


def test_costs_are_shown_only_at_prices_that_were_given(runs: list[Path]) -> None:
    assert "## Cost" not in _text(*runs)
    assert "## Cost" in _text(*runs, prices={"prompt": 1, "output": 2})


def test_every_grader_has_its_accuracy_and_what_they_disagree_on_is_listed(tmp_path: Path) -> None:
    made = [
        replace(r, grader="math-verify", other_grades={"exact match": int(r.id) % 4 > 0}) for r in results("sprint")
    ]
    other = [replace(r, grader="math-verify", other_grades={"exact match": True}) for r in results("rft")]
    rows = {(row.grader, row.label): row.accuracy for row in grader_rows([made, other])}
    assert rows["math-verify", "sprint"] == 1.0
    assert rows["exact match", "sprint"] == 0.75
    assert [one.id for one in disagreements(made)] == ["0", "4", "8", "12", "16"]
    text = _text(write(tmp_path / "a.jsonl", made), write(tmp_path / "b.jsonl", other))
    assert "5 of 5 answers on which two graders disagree" in text


def test_an_answer_that_never_came_is_wrong_for_every_grader() -> None:
    made = [replace(r, other_grades={"exact match": True}) for r in results("sprint", 3)]
    failed = replace(results("sprint", 1)[0], id="x", grade=None, usage=None)
    assert {row.accuracy for row in grader_rows([[*made, failed]])} == {0.75}


def test_the_gallery_shows_each_kind_in_turn_first_what_another_run_solved() -> None:
    mine = results("sprint", 8)
    mine = (
        [wrong(r) for r in mine[:5]]
        + [replace(r, grade=Grade.NO_ANSWER, stop_reason="too_long") for r in mine[5:7]]
        + mine[7:]
    )
    theirs = [r if r.id in ("3", "7") else wrong(r) for r in results("rft", 8)]
    found = gallery(mine, [theirs], 3)
    assert found.kinds == {"wrong value": 5, "no answer, ended by too long": 2}
    assert [(failure.result.id, failure.right_elsewhere) for failure in found.shown] == [
        ("3", ("rft",)),
        ("5", ()),
        ("0", ()),
    ]
    assert gallery(mine, [theirs], 0).shown == ()
    assert kind_of(replace(mine[0], grade=None, usage=None)) == "the call failed"


# --- Pareto ----------------------------------------------------------------------------------------------------------


def test_the_frontier_holds_exactly_what_nothing_beats_on_both() -> None:
    assert frontier([(10, 0.5), (20, 0.9), (30, 0.9), (5, 0.5), (40, 0.95)]) == {1, 3, 4}
    assert frontier([(1, 0.5), (1, 0.5)]) == {0, 1}


def test_a_measure_that_a_run_lacks_has_no_plot() -> None:
    made = [results("sprint"), results("rft", wall_s=0.0)]
    summaries = [summarise(run) for run in made]
    assert points(made, summaries, "wall_alone_s") == []
    assert [point.on_frontier for point in points(made, summaries, "pipelined_tokens")] == [True, False]


# --- the page --------------------------------------------------------------------------------------------------------


def _text(*paths: Path, **options: Any) -> str:
    """A report's text, in which nothing is drawn."""
    return markdown(make_report(validate(ReportConfig, {"runs": paths, **options}, "options")))


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


def test_the_page_stands_alone_and_holds_every_part(made: Path) -> None:
    text = (made / "page.html").read_text()
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


def test_the_same_runs_give_the_same_page(made: Path) -> None:
    again = make_report(ReportConfig(runs=[made / "sprint.jsonl", made / "rft.jsonl"]))
    assert page(again) == (made / "page.html").read_text()
    assert markdown(again) == (made / "page.md").read_text()
    assert json.loads(json.dumps(again.as_dict())) == json.loads((made / "page.json").read_text())


def test_the_json_holds_the_numbers_and_none_of_the_texts(made: Path) -> None:
    text = (made / "page.json").read_text()
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


def test_the_markdown_has_the_papers_table_and_its_columns_agree(made: Path) -> None:
    text = (made / "page.md").read_text()
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


# --- what must not be concluded --------------------------------------------------------------------------------------


def marked(label: str, right: int, stated: int, **changes: Any) -> list[Result]:
    """60 answers, the first `right` of them right, `stated` when an answer without a box counts."""
    made = results(label, 60, grader="equivalence", **changes)
    return [
        replace(
            one,
            grade=Grade.CORRECT if place < right else Grade.NO_ANSWER,
            other_grades={"box or statement": place < stated},
        )
        for place, one in enumerate(made)
    ]


def test_where_graders_disagree_on_significance_it_is_said_with_the_accuracy(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{label}.jsonl", marked(label, right, stated))
        for label, right, stated in (("sprint", 54, 54), ("rft", 43, 51))
    ]
    said = make_report(ReportConfig(runs=paths)).words()[0]
    assert "The difference is significant at the 5 % level" in said
    assert "But graders disagree on that" in said
    assert "significant under 'equivalence' (90.0 % against 71.7 %" in said
    assert "not under 'box or statement' (90.0 % against 85.0 %, p = 0.25)" in said
    assert "Of sprint 6 and of rft 17 answers stand in no box." in said
    agreeing = [
        write(tmp_path / "a.jsonl", marked("sprint", 54, 54)),
        write(tmp_path / "b.jsonl", marked("rft", 43, 43)),
    ]
    assert "graders disagree" not in " ".join(make_report(ReportConfig(runs=agreeing)).words())


def test_a_grader_that_saw_only_the_doubtful_answers_is_no_test_and_the_grades_that_count_come_first() -> None:
    run = marked("sprint", 50, 50)
    judged = [
        replace(one, grade=Grade.CORRECT, grader="judge w", other_grades={"equivalence": False}) if place >= 55 else one
        for place, one in enumerate(run)
    ]
    tests = grader_tests(judged, marked("rft", 43, 43))
    assert [(one.grader, round(60 * one.shares[0])) for one in tests] == [
        ("equivalence and judge w", 55),
        ("equivalence", 50),
    ]


@pytest.mark.parametrize("method", ["sequential", "base"])
def test_every_sequential_method_may_be_the_baseline_and_the_taught_one_goes_first(tmp_path: Path, method: str) -> None:
    other = write(tmp_path / "other.jsonl", results("other", method=method))
    sprint, rft = (write(tmp_path / f"{label}.jsonl", results(label)) for label in ("sprint", "rft"))
    assert make_report(ReportConfig(runs=[other, sprint])).baseline == 0
    assert make_report(ReportConfig(runs=[other, sprint, rft])).baseline == 2


def test_few_problems_are_never_called_significant() -> None:
    (_, tokens, *_) = verdict(compare(results("sprint", 1), results("rft", 1)))
    assert "1 problems are too few to call that significant" in tokens
    assert "significantly" not in tokens


def test_a_clock_is_shown_with_the_number_of_problems_it_was_on_for(tmp_path: Path) -> None:
    runs = [[replace(one, concurrency=1 + 7 * (i >= 9)) for i, one in enumerate(results(x))] for x in ("sprint", "rft")]
    paths = [write(tmp_path / f"{run[0].label}.jsonl", run) for run in runs]
    shown = markdown(make_report(ReportConfig(runs=paths)))
    (card,) = (line for line in shown.splitlines() if "wall seconds, alone" in line and line.startswith("- "))
    assert card.endswith("n = 9)")
    assert "asked one at a time (n = 9)" in shown


def test_what_an_import_does_not_know_is_a_dash_and_its_cost_says_so() -> None:
    usage = Usage(pipelined_tokens=5, generated_tokens=5, cached_prompt_tokens=None)
    run = [replace(one, usage=usage) for one in results("rft")]
    counters = summarise(run).counters
    assert {counters[name] for name in ("prompt_tokens", "num_calls", "runtime_tokens")} == {None}
    found = cost(run, Prices(1.0, 1.0))
    assert found is not None
    assert not found.prompts_known


@pytest.mark.parametrize(
    ("key", "value"),
    [("level", 5), ("answer", None), ("concurrency", "x"), ("wall_s", float("nan")), ("usage", [1]),
     ("usage", {"wall_s": None}),
     ("usage", {"pipelined_tokens": float("inf")}), ("usage", {"prompt_tokens": -1}), ("timeline", [1]),
     ("timeline", [{"kind": "plan"}]), ("other_grades", []), ("other_grades", {"a": 1}), ("sample", [1])],
)  # fmt: skip
def test_a_row_of_other_kinds_is_refused_in_a_sentence(tmp_path: Path, key: str, value: Any) -> None:
    rows = [one.as_row() for one in results("sprint", 2)]
    rows[1][key] = value
    write_jsonl(tmp_path / "run.jsonl", rows)
    with pytest.raises(InputError, match=r"row 2 is not an evaluation result|line 2 is not an evaluation result"):
        read_results(tmp_path / "run.jsonl")


def test_half_a_surrogate_pair_and_orders_to_a_terminal_do_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = results("a\x1b[2J", 1)[0].as_row() | {"answer": "\ud800", "question": "\ud800", "level": "\ud800"}
    (tmp_path / "run.jsonl").write_text(json.dumps(row) + "\n")
    report(ReportConfig(runs=[tmp_path / "run.jsonl"], out=tmp_path / "page.html"))
    assert "\x1b" not in capsys.readouterr().out
