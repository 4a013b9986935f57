"""Laws of sibling leaks: an execution may use what it can see and what it works out, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import annotate, dag, rounds
from sprint.backrefs import Reference, phrases
from sprint.leaks import leaks, mend
from sprint.lines import split
from sprint.rules import RulesAnnotator
from sprint.tasks import Split, get_task
from sprint.types import Step


def _pairs(question: str, *steps: Step) -> list[tuple[int, int]]:
    return [(leak.step, leak.source) for leak in leaks(question, steps)]


def _siblings(first: str, second: str, question: str = "") -> list[tuple[int, int]]:
    """The leaks between two executions of one round."""
    return _pairs(question, Step(1, "", first, "do one"), Step(2, "", second, "do two"))


# --- clear cases -----------------------------------------------------------------------------------------------------

AREA = "The base is 48 and the height 36. So 48 * 36 = 1728."


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AREA, "The volume is 1728 * 5 = 8640."),
        ("4+5=9.\nSo A=9.", "A=9.\nB=8.\nSo A wins."),
        ("So x = 17.", "Since x = 17, the sum is 20."),
        (AREA, "By another route it comes to 1728. Both methods agree."),
        (AREA, "As before, the area is 1728."),
        (AREA, "We found 1728 for the area."),
        ("So it is blue.", "It is blue, consistent with what we found."),
        ("So it is blue.", "It fits the previous result."),
    ],
)
def test_what_only_a_sibling_produced_is_a_leak(first: str, second: str) -> None:
    assert _siblings(first, second) == [(2, 1)]


@pytest.mark.parametrize("known", ["1700 and 28", "1736 less 8", "3456 over 2", "12 on an edge", "48 by 36"])
def test_what_one_operation_on_known_numbers_gives_is_no_leak(known: str) -> None:
    """It may have been worked out in the head, be the numbers the execution's own or those of the question."""
    used = "The volume is 1728 * 5 = 8640."
    assert _siblings(AREA, f"There are {known}. {used}") == []
    assert _siblings(AREA, used, f"There are {known}.") == []
    assert _siblings(AREA, f"There are 1700 and 29. {used}", "There are 1731.") == [(2, 1)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AREA, "Half of 96 is 48. Then 48 * 36 = 1728, and 1728 / 12 = 144."),  # worked out again
        (AREA, "Squares: 1728 is none of them."),  # no calculation
        ("6 * 2 = 12.", "12 / 3 = 4."),  # small numbers come up by themselves
        ("4+5=9.\nSo A=9.", "4+5=9.\nSo A=9."),
        ("If n = 17, it fails.", "If n = 18, it fails. Since n = 17 is odd, so does that."),  # cases, not a result
        ("The line ax + c = 17 is flat.", "So a = 3 and c = 17."),
        (AREA, "Doubling 864 gives 1728. Alternatively, 12 cubed is 1728.\nIt is whole. Both methods agree."),
        (AREA, "It is 1728 by counting.\nThat is whole.\nWe found 1728."),
        ("So it is blue.", "We found the colour by looking."),
        ("So it is blue.", "Before that, look above. Earlier is better. The same colour matches."),
    ],
)
def test_what_an_execution_says_by_itself_is_none(first: str, second: str) -> None:
    assert _siblings(first, second) == []


def test_what_stands_in_sight_is_no_leak() -> None:
    use = Step(2, "", "1728 * 5 = 8640. As before, 1728.", "do two")
    assert _pairs("The area is 1728.", Step(1, "", AREA, "do one"), use) == []
    assert _pairs("", Step(1, "", AREA, "do one"), replace(use, plan="The area is 1728.")) == []
    assert _pairs("", Step(1, "", AREA, "do one"), replace(use, instruction="times 1728 by 5")) == []
    assert _pairs("", Step(1, "", AREA, "do one"), replace(use, parents=(1,))) == []
    assert _pairs("", Step(1, AREA), use) == []


def test_an_earlier_round_is_in_sight_and_a_later_plan_is_not() -> None:
    first, second = Step(1, "", "Look.", "do one"), Step(2, "", AREA, "do two")
    use = Step(3, "", "1728 * 5 = 8640.", "do three", (1,))
    assert _pairs("", first, second, use) == []
    assert _pairs("", first, replace(second, parents=(1,)), use, Step(4, "1728 it is.", parents=(1,))) == [(3, 2)]
    assert _pairs("", first, replace(second, parents=(1,)), replace(use, parents=())) == [(3, 2)]


def test_a_phrase_points_at_the_step_before_or_at_the_one_that_holds_its_value() -> None:
    one, two = Step(1, "", "So it is 40.", "do one"), Step(2, "", "It is red.", "do two")
    assert _pairs("", one, two, Step(3, "", "As before, it is red.", "do three")) == [(3, 2)]
    assert _pairs("", one, two, Step(3, "", "As before, it is 40.", "do three")) == [(3, 1)]
    assert _pairs("", one, two, Step(3, "", "All methods agree.", "do three")) == [(3, 1), (3, 2)]
    assert _pairs("", one, two, Step(3, "", "As before, it is red.", "do three", (2,))) == []


def test_the_evidence_names_the_value_or_the_phrase() -> None:
    found = leaks("", (Step(1, "", AREA, "do one"), Step(2, "", "1728 / 12 = 144. Both methods agree.", "do two")))
    assert [leak.evidence for leak in found] == ["1728"]
    (found,) = leaks("", (Step(1, "", "Red.", "do one"), Step(2, "", "Red, As before.", "do two")))
    assert found.evidence == '"As before"'


def test_phrases_know_their_values_and_what_they_need() -> None:
    said = list(phrases("It is 31 now. All methods agree. As before, it is 47. We found 8."))
    assert [(phrase.reference, phrase.values) for phrase in said] == [
        (Reference.ALL, ("31",)),
        (Reference.ONE, ("47",)),
        (Reference.WEAK, ("47",)),
    ]


# --- mending ---------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        *("As before, it is so. ", "All methods agree. ", "We found 4096. ", "4096 / 31 = 132.1. ", "So 64^2 = 4096. "),
        *("A=9.\n", "Since A=9, go on. ", "So B = 212. ", "212 + 4096 = 4308. ", "Look. "),
    ]
)
_TEXTS = st.lists(_PIECES, max_size=4).map("".join)


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[Step, ...]:
    steps = []
    for index in range(1, draw(st.integers(0, 9)) + 1):
        parents = draw(st.lists(st.integers(1, index - 1), unique=True, max_size=2)) if index > 1 else []
        execution = draw(_TEXTS)
        steps.append(Step(index, draw(_TEXTS), execution, "do it" if execution else "", tuple(parents)))
    return tuple(steps)


@given(_graphs())
def test_mending_leaves_no_leak_and_only_adds_dependencies_on_earlier_steps(steps: tuple[Step, ...]) -> None:
    mended, found = mend("", steps)
    assert leaks("", mended) == ()
    assert dag.bad_parent([step.parents for step in mended]) is None
    added = [set(after.parents) - set(before.parents) for before, after in zip(steps, mended, strict=True)]
    assert {(leak.step, leak.source) for leak in found} == {
        (index, source) for index, sources in enumerate(added, 1) for source in sources
    }
    assert [replace(step, parents=()) for step in mended] == [replace(step, parents=()) for step in steps]
    assert all(set(before.parents) <= set(after.parents) for before, after in zip(steps, mended, strict=True))
    assert bool(found) is bool(leaks("", steps))


def test_a_source_comes_before_its_step_and_shares_its_round_or_a_later_one() -> None:
    steps = tuple(Step(k, "", "As before. All methods agree.", "do it") for k in range(1, 6))
    runs = rounds.rounds_of(steps)
    found = leaks("", steps)
    assert found
    assert all(leak.source < leak.step and runs[leak.source] >= runs[leak.step] for leak in found)
    assert max(rounds.rounds_of(mend("", steps)[0]).values()) == 5


@pytest.mark.parametrize("piece", ["We found 31. ", "A=9. ", "1,729 * ", "as before ", "x_1 = 2, ", "12.5 + "])
def test_long_hostile_executions_are_read_too(piece: str) -> None:
    steps = (Step(1, "", piece * 4_000, "do one"), Step(2, "", piece * 4_000, "do two"))
    assert not leaks("", mend("", steps)[0])


# --- whole traces ----------------------------------------------------------------------------------------------------


def _taught(name: str, count: int, **options: int) -> list[tuple[str, tuple[Step, ...]]]:
    task = get_task(name, **options)
    found = []
    for problem in islice(task.problems(Split.TRAIN), count):
        lines = split(task.teach(problem).reasoning)
        annotation = RulesAnnotator().annotate(problem.question, lines)
        found.append((problem.question, annotate.steps_of(annotation, lines)))
    return found


def test_generated_traces_have_no_leaks_until_their_dependencies_are_taken_away() -> None:
    chains = _taught("chains", 20, num_chains=6)
    assert not any(leaks(question, steps) for question, steps in [*chains, *_taught("countdown", 20)])
    caught, real = 0, 0
    for question, steps in chains:
        flagged = {leak.step for leak in leaks(question, [replace(step, parents=()) for step in steps])}
        dependent = {step.index for step in steps if step.parents}
        assert flagged <= dependent
        caught, real = caught + len(flagged), real + len(dependent)
    assert caught > 0.75 * real


def test_the_leak_in_a_published_trajectory_is_found(reference_data: Path) -> None:
    path = reference_data / "reference" / "published_curation_examples.jsonl"
    rows = {row["id"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    found = leaks("", _published_steps(rows["sprint-curation-2"]))
    assert {leak.step: leak.evidence for leak in found} == {7: '"As before"', 9: '"the same answer"'}


_PART = re.compile(r"<(plan|prompt|execution)>\n?(.*?)\n?</\1>", re.S)
_LINES = re.compile(r"\*\*Execution:\*\* Lines (\d+)-(\d+)")


def _published_steps(row: dict[str, Any]) -> tuple[Step, ...]:
    """The steps of a published annotation, short executions folded into their plans."""
    texts = re.split(r"### Component \d+\n", row["component_inline"])[1:]
    ranges = re.split(r"### Component \d+", row["component_separation"])[1:]
    steps = []
    for index, (text, named) in enumerate(zip(texts, ranges, strict=True), 1):
        part, lines = dict(_PART.findall(text)), _LINES.search(named)
        runs = lines is not None and int(lines[2]) - int(lines[1]) >= annotate.FOLD_LINES
        plan, execution = part["plan"], part.get("execution", "")
        parents = tuple(row["dag"][str(index)])
        steps.append(Step(index, plan if runs else f"{plan}\n{execution}", execution if runs else "", "", parents))
    return tuple(steps)
