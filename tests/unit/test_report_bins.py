"""Length bins, and the shape of what was written in rounds."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from sprint.errors import InputError
from sprint.evals.bins import Bins, Source, in_order, independent_bins, own_bins
from sprint.evals.config import ReportConfig
from sprint.evals.pattern import pattern, shape, stragglers
from sprint.evals.report import make_report
from sprint.evals.results import Result
from sprint.evals.runs import Run, RunFile
from sprint.evals.savings import savings
from sprint.usage import Usage
from tests.unit.evaluated import as_run, report_text, results, write

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


def test_a_held_out_run_chooses_the_bins(run_files: list[Path], tmp_path: Path) -> None:
    held_out = write(tmp_path / "other.jsonl", results("other seed"))
    found = make_report(ReportConfig(runs=run_files, lengths=held_out))
    assert [one.bins.source for one in found.savings] == [Source.HELD_OUT, Source.OWN, Source.OWN]
    assert [run.label for run in found.sources] == ["sprint", "rft", "other seed"]
    assert sum(row.num_answered for row in found.savings[0].rows) == 20
    with_edges = make_report(ReportConfig(runs=run_files, lengths=held_out, bin_edges=[0, 105, 1000]))
    assert [row.title for row in with_edges.savings[0].rows] == ["0–105", "105–1,000"]


def test_a_held_out_run_that_is_compared_is_refused(run_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrote exactly as much as the run 'rft'"):
        make_report(ReportConfig(runs=run_files, lengths=run_files[1]))
    renamed = [replace(result, label="another") for result in results("rft")]
    with pytest.raises(InputError, match="wrote exactly as much as the run 'rft'"):
        make_report(ReportConfig(runs=run_files, lengths=write(tmp_path / "renamed.jsonl", renamed)))
    elsewhere = [replace(result, id=f"x{result.id}") for result in results("other")]
    with pytest.raises(InputError, match="answers none of the problems"):
        make_report(ReportConfig(runs=run_files, lengths=write(tmp_path / "elsewhere.jsonl", elsewhere)))


def test_a_runs_own_length_is_always_called_biased(reported: Path) -> None:
    text = (reported / "page.html").read_text()
    assert "Biased bins: tokens that rft generated" in text
    assert "Biased bins: tokens that sprint generated" in text
    assert text.index("Independent bins:") < text.index("Biased bins:")


def test_where_nothing_is_independent_the_report_says_so(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{label}.jsonl", results(label, question="q")) for label in ("sprint", "rft")]
    assert "so only the biased bins can be shown" in report_text(*paths)
    flat = Usage(pipelined_tokens=5, generated_tokens=5)
    paths = [write(path, results(path.stem, question="q", usage=flat)) for path in paths]
    assert "The problems are all equally long" in report_text(*paths)


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
