"""Laws of what is read in a model's reply: every spelling of the same thing, and a sentence for what cannot be read."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import annotate, rounds
from sprint.annotate import UnusableAnnotation
from sprint.replies import ReplyError, encode, parse_parents, parse_steps
from sprint.types import Annotation, DropReason, LineRange, Step, StepLines


def span(first: int, last: int) -> LineRange:
    return LineRange(first, last)


# --- reading what was written gives it back --------------------------------------------------------------------------

_PARTS = ("plan", "execution", "comment")
_CHARACTERS = st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="<")  # no tags
_WORDS = st.text(_CHARACTERS, min_size=1, max_size=8)
_INSTRUCTIONS = st.one_of(st.just(""), st.lists(_WORDS, min_size=1, max_size=4).map(" ".join))


@st.composite
def sound(draw: st.DrawFn, gaps: bool = False) -> tuple[Annotation, int]:
    """A sound annotation and the number of lines of its trace; without gaps every line stands in a part."""
    line, steps, parents = 1, [], []
    for index in range(1, draw(st.integers(1, 8)) + 1):
        found: dict[str, Any] = {"plan": None, "execution": None}
        for name in draw(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=3, unique=True)):
            line += draw(st.integers(0, 3)) if gaps else 0
            found[name] = LineRange(line, line + draw(st.integers(0, 4)))
            line = found[name].last + 1
        steps.append(StepLines(instruction=draw(_INSTRUCTIONS), **found))
        parents.append(tuple(draw(st.lists(st.integers(1, index - 1), unique=True, max_size=4)) if index > 1 else []))
    return Annotation(tuple(steps), tuple(parents)), line - 1 + (draw(st.integers(0, 3)) if gaps else 0)


def _read(replies: tuple[str, str], num_lines: int) -> Annotation:
    steps = parse_steps(replies[0], num_lines)
    return Annotation(steps, parse_parents(replies[1], len(steps)))


@given(st.booleans().flatmap(lambda gaps: sound(gaps=gaps)), st.booleans())
def test_what_is_written_is_read_back(drawn: tuple[Annotation, int], structured: bool) -> None:
    annotation, num_lines = drawn
    assert _read(encode(annotation, num_lines, structured=structured), num_lines) == annotation
    assert _read(encode(annotation, structured=structured), num_lines) == annotation


@given(sound())
def test_a_last_line_is_written_only_where_a_gap_follows(drawn: tuple[Annotation, int]) -> None:
    annotation, num_lines = drawn
    bare = Annotation(
        tuple(StepLines(s.plan, s.execution, "", s.comment) for s in annotation.steps), annotation.parents
    )
    assert "-" not in encode(bare, num_lines)[0]


def test_what_a_reply_looks_like() -> None:
    steps = (
        StepLines(span(1, 2), span(3, 4)),
        StepLines(None, span(5, 9), "compare\nboth", span(11, 12)),
        StepLines(span(13, 13), None),
    )
    annotation = Annotation(steps, ((), (), (1, 2)))
    assert encode(annotation, 13) == ("P1 E3\nE5-9 C11 > compare both\nP13", "2:\n3: 1, 2")
    assert encode(annotation) == ("P1 E3\nE5-9 C11 > compare both\nP13-13", "2:\n3: 1, 2")
    assert [json.loads(text) for text in encode(annotation, 13, structured=True)] == [
        {"steps": ["P1 E3", "E5-9 C11 > compare both", "P13"]},
        {"parents": [[], [], [1, 2]]},
    ]


_RANGES = st.none() | st.builds(LineRange, st.integers(0, 7), st.integers(0, 7))


@given(st.lists(st.builds(StepLines, _RANGES, _RANGES, st.just(""), _RANGES), min_size=1, max_size=3))
def test_the_parser_and_the_gate_agree_on_ranges(steps: list[StepLines]) -> None:
    written = json.dumps({"steps": [_as_json(step) for step in steps]})
    assert parse_steps(written, 6, strict=False) == tuple(steps)
    fault = None
    try:
        annotate.steps_of(Annotation(tuple(steps), ((),) * len(steps)), ["text\n"] * 6)
    except UnusableAnnotation as error:
        fault = error.reason
    if fault is None:
        assert parse_steps(written, 6) == tuple(steps)
    else:
        with pytest.raises(ReplyError) as caught:
            parse_steps(written, 6)
        assert caught.value.reason is fault


def _as_json(step: StepLines) -> dict[str, list[int]]:
    parts = {name: getattr(step, name) for name in _PARTS}
    return {name: [part.first, part.last] for name, part in parts.items() if part is not None}


# --- spellings of steps ----------------------------------------------------------------------------------------------

WANTED = (StepLines(span(1, 3), span(4, 8)), StepLines(None, span(9, 11), "", span(12, 12)))


@pytest.mark.parametrize(
    "text",
    [
        "P1 E4\nE9 C12",
        "P1-3 E4-8\nE9-11 C12-12",
        "p1, e4\ne9; c12",
        "1. P1 E4\n2. E9 C12",
        "1: P1 E4\n2: E9 C12",
        "1 P1 E4\n2 E9 C12",
        "- P1 E4\n- E9 C12",
        "* **Step 1:** P1 E4\n* **Step 2:** E9 C12",
        "Step 1: P1-3 (understand it), E4-8 (add)\nStep 2: E9 C12",
        "**P1 E4**\n`E9 C12`",
        "> P1 E4\n> E9 C12",
        "| 1 | P1 | E4 |\n| 2 | E9 | C12 |",
        "P1–3 E4–8\nE9..11 C12",
        "P1-P3 E4-E8\nE9 to 11 C12",
        "Here are the steps of the thought:\n\n```\nP1 E4\nE9 C12\n```\nLet me know if you need more.",
        "```text\nP1 E4\nE9 C12",
        "```\nP1 E4\n```\n```\nE9 C12\n```",
        "<think>\nP1 E2\nPerhaps P3?\n</think>\n\nP1 E4\nE9 C12",
        "P1 E4\r\nE9 C12\r\n",
        '{"steps": ["P1 E4", "E9 C12"]}',
        'Sure: {"steps": ["P1 E4", "E9 C12",]} as asked.',
        '```json\n{\n  "steps": [\n    "P1 E4",\n    "E9 C12",\n  ],\n}\n```',
        "{'steps': ['P1 E4', 'E9 C12']}",
        '["1: P1 E4", "2: E9 C12"]',
        '{"steps": [{"plan": [1, 3], "execution": [4, 8]}, {"execution": "9-11", "comment": 12, "plan": null}]}',
        '{"steps": [{"Plan": "Lines 1-3", "Execution": "4–8", "Comment": "Lines not found"}, {"execution": [9, 11], '
        '"comment": [12]}]}',
        "### Component 1 (Lines 1-8)\n- **Description:** Setting up.\n- **Plan:** Lines 1, 2-3\n"
        "- **Execution:** Lines 4–8\n- **Comment:** Lines not found\n\n### Component 2 (Lines 9-12)\n"
        "- **Plan:** Lines not found\n- **Execution:** Lines 9 to 11\n- **Comment:** Line 12",
        "Step 1\nPlan: 1-3\nExecution: 4-8 (the sum)\nStep 2\nPlan: none\nExecution: 9, 10 and 11\nComment: 12",
        "Plan: lines 1-3\nExecution: lines 4-8\n\nExecution: lines 9-11\nComment: line 12",
        "Plan: 1-3; Execution: 4-8\nPlan: -; Execution: 9-11; Comment: 12",
    ],
)
def test_spellings_of_the_same_steps(text: str) -> None:
    assert parse_steps(text, 12) == WANTED


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("P1 E2 > compare A > B", "compare A > B"),
        ("P1 E2 -> compare", "compare"),
        ("P1 E2 → **compare** `x`", "**compare** `x`"),
        ("1. P1 E2  =>  compare ", "compare"),
        ('{"steps": ["P1 E2 > compare"]}', "compare"),
        ('{"steps": [{"plan": 1, "execution": [2, 4], "instruction": "compare"}]}', "compare"),
        ("### Component 1 (Lines 1-4)\n- **Plan:** Line 1\n- **Prompt:** Compare P1 E2.\n- **Execution:** Lines 2-4",
         "Compare P1 E2."),
        ('{"steps": ["P1 E2 > add\\nboth \\ud800"]}', "add both ?"),
        ("P1 E2 >", ""),
    ],
)  # fmt: skip
def test_instructions(text: str, instruction: str) -> None:
    assert parse_steps(text, 4) == (StepLines(span(1, 1), span(2, 4), instruction),)


def test_a_single_number_is_a_line_in_words_and_a_beginning_in_letters() -> None:
    assert parse_steps("P2", 9) == (StepLines(span(2, 9), None),)
    assert parse_steps("Plan: 2", 9) == parse_steps("P Line 2", 9) == (StepLines(span(2, 2), None),)


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        ("", DropReason.UNPARSED_STEPS, "no steps were found"),
        ("I cannot do that.", DropReason.UNPARSED_STEPS, "no steps were found"),
        ("<think>P1 E4 and then", DropReason.UNPARSED_STEPS, "no steps were found"),
        ("P1 E4\n<think>or rather", DropReason.UNPARSED_STEPS, "no steps were found"),
        ('{"steps": []}', DropReason.UNPARSED_STEPS, "no steps were found"),
        ('{"steps": ["P1 E4", "E9', DropReason.UNPARSED_STEPS, "broken or cut off"),
        ('{"steps": ["P1 E4"], "steps": ["P1"]}', DropReason.UNPARSED_STEPS, "same key twice"),
        ('{"lines": ["P1 E4"]}', DropReason.UNPARSED_STEPS, "no list 'steps'"),
        ('{"steps": ["the first"]}', DropReason.UNPARSED_STEPS, "'the first' cannot be read"),
        ('{"steps": [[1, 4]]}', DropReason.UNPARSED_STEPS, "'[1, 4]' cannot be read"),
        ('{"steps": [{"plan": [1, 2, 3]}]}', DropReason.UNPARSED_STEPS, "plan '[1, 2, 3]' cannot be read"),
        ('{"steps": [{"plan": ' + "9" * 5000 + "}]}", DropReason.UNPARSED_STEPS, "broken or cut off"),
        ("[" * 100_000, DropReason.UNPARSED_STEPS, "broken or cut off"),
        ("P1 E4 X9\nE9", DropReason.UNPARSED_STEPS, "'P1 E4 X9' cannot be read"),
        ("P1 E4 > go </prompt_1.1> on", DropReason.UNPARSED_STEPS, "instruction of step 1 holds a tag"),
        ("P1 E4-7-9", DropReason.UNPARSED_STEPS, "'P1 E4-7-9' cannot be read"),
        ("Step 1\nPlan: the first two lines", DropReason.UNPARSED_STEPS, "names no lines"),
        ("Step 1\nPlan: lines 1-3 except 2", DropReason.UNPARSED_STEPS, "cannot be read"),
        (
            "P1 E4\nE9 C13",
            DropReason.BAD_RANGES,
            "step 2, comment: line 13 does not exist",
        ),
        ("P0 E4", DropReason.BAD_RANGES, "line 0 does not exist, the trace has lines 1 to 12"),
        ("P1 E4-30", DropReason.BAD_RANGES, "lines 4-30 run past the end"),
        ("P1 E8-4", DropReason.BAD_RANGES, "step 1, execution: lines 8-4 run backwards"),
        ("P1 E4\nP4 E9", DropReason.BAD_RANGES, "step 1, execution: line 4 comes after the part that follows it"),
        ("P1-5 E4-8", DropReason.BAD_RANGES, "step 1, execution: line 4 stands in step 1 already"),
        ("P1 E4-9\nE8", DropReason.BAD_RANGES, "step 2, execution: line 8 stands in step 1 already"),
        ("P1 E4 P6 E8", DropReason.BAD_RANGES, "step 1 has more than one plan"),
        ("Step 1\nStep 2: P1", DropReason.BAD_RANGES, "step 1 names no lines"),
        ("Step 1: set up (P1 E4)", DropReason.BAD_RANGES, "step 1 names no lines"),
        ("P1-2\n" * 9, DropReason.BAD_RANGES, "(and 4 more)"),
    ],
)
def test_a_reply_without_usable_steps_is_told_why(text: str, reason: DropReason, told: str) -> None:
    with pytest.raises(ReplyError) as caught:
        parse_steps(text, 12)
    assert caught.value.reason is reason
    assert told in str(caught.value)


def test_ranges_are_given_as_written_where_asked() -> None:
    assert parse_steps("P1-5 E4-99", 12, strict=False) == (StepLines(span(1, 5), span(4, 99)),)


def test_lines_that_no_step_names_are_no_fault() -> None:
    assert parse_steps("P2-3 E5-6", 12) == (StepLines(span(2, 3), span(5, 6)),)


@pytest.mark.parametrize("piece", ["P1 E", "-", "1", "( ", "#\n", "> ", "{1:", "P1,", " \t", "1: 1, ", "```\n", "((a"])
def test_noise_of_any_length_is_read_or_refused(piece: str) -> None:
    for parse in (parse_steps, parse_parents):
        with pytest.raises(ReplyError):
            parse(piece * 20_000, 12)


@given(st.text(alphabet="PECS 0123456789-,:>[]{}()\"'\n*#=;Lines", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_steps, parse_parents):
        with suppress(ReplyError):
            assert parse(text, 9)


# --- spellings of parents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2: 1\n3:\n4: 2, 3",
        "1:\n2: 1\n3: none\n4: 2 3",
        "1: -\n2: [1]\n3: []\n4: [2, 3]",
        "1: ; 2: 1; 3: ; 4: 2, 3",
        "Step 2: step 1\nStep 3: (none)\nStep 4: steps 2 and 3",
        "- **2**: 1\n- **3**: N/A\n- **4**: 2, 3.",
        "2 <- 1\n3 <-\n4 <- 2, 3",
        "2: 1 (it uses the result of 1)\n3: none (afresh)\n4: (2, 3)",
        "2: 1, 1\n3:\n4: 2, 3, 2",
        "| 2 | 1 |\n2: 1\n3:\n4: 2, 3",
        "[[], [1], [], [2, 3]]",
        '{"parents": [[], [1], [], [2, 3]]}',
        '{"parents": {"1": [], "2": [1], "3": [], "4": [2, 3]}}',
        '{"1": [], "2": [1], "3": [], "4": [2, 3,]}',
        '{"parents": ["2: 1", "3:", "4: 2, 3"]}',
        '{"parents": [{"step": 2, "parents": [1]}, {"step": 3, "parents": []}, '
        '{"step": 4, "parents": ["2", "Step 3"]}]}',
        "parent_dictionary = {1: [], 2: [1], 3: [], 4: [2, 3]}",
        "Let us see: 2 needs 1.\n```python\nparent_dictionary = {\n    1: [],  # set up\n    2: [1],\n    3: [],\n"
        "    4: [2, 3],  # both\n}\n```\nThat is all.",
        "parent_dictionary = {1: [], 2: []}\nNo, wait.\nparent_dictionary = {1: [], 2: [1], 3: [], 4: [2, 3]}",
        "{'1': [], '2': ['1'], '3': [], '4': ['2', '3']}",
        "<think>2: 3</think>2: 1\n3:\n4: 2, 3",
    ],
)
def test_spellings_of_the_same_parents(text: str) -> None:
    assert parse_parents(text, 4) == ((), (1,), (), (2, 3))


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        ("", DropReason.UNPARSED_STEPS, "no parents were found"),
        ("They all depend on each other.", DropReason.UNPARSED_STEPS, "no parents were found"),
        ("[]", DropReason.UNPARSED_STEPS, "no parents were found"),
        ("{1: [], 2: [1], 3: [", DropReason.UNPARSED_STEPS, "broken or cut off"),
        ("[[], [1], [", DropReason.UNPARSED_STEPS, "broken or cut off"),
        ("{1: [], 2: [1], 2: [], 3: []}", DropReason.UNPARSED_STEPS, "same key twice"),
        ("[[], [-1], [true]]", DropReason.UNPARSED_STEPS, "'True' is not the number of a step"),
        ("[[], 1, 2]", DropReason.UNPARSED_STEPS, "'1' cannot be read"),
        ('{"parents": 3}', DropReason.UNPARSED_STEPS, "no list 'parents'"),
        ("2: 1\n3: 1-2", DropReason.UNPARSED_STEPS, "'3: 1-2' cannot be read"),
        ("2: 1\n3: all of them", DropReason.UNPARSED_STEPS, "'3: all of them' cannot be read"),
        ("2: 1\n3: (like step 2)", DropReason.UNPARSED_STEPS, "cannot be read"),
        ("2: 1", DropReason.BAD_PARENTS, "the parents of step 3 are missing"),
        ("[[], [1]]", DropReason.BAD_PARENTS, "the parents of step 3 are missing"),
        ("[[], [1], [], []]", DropReason.BAD_PARENTS, "step 4 does not exist, there are steps 1 to 3"),
        ("2: 1\n3: 3", DropReason.BAD_PARENTS, "step 3 names step 3 as a parent, expected only steps before it"),
        ("2: 3\n3: 1", DropReason.BAD_PARENTS, "step 2 names step 3 as a parent"),
        ("2: 0\n3:", DropReason.BAD_PARENTS, "step 2 names step 0 as a parent"),
        ("[[], [-1], []]", DropReason.BAD_PARENTS, "step 2 names step -1 as a parent"),
        ("1: 1\n2: 1\n3:", DropReason.BAD_PARENTS, "step 1 names step 1 as a parent"),
        ("2: 1\n2:\n3:", DropReason.BAD_PARENTS, "step 2 is given more than once"),
    ],
)
def test_a_reply_without_usable_parents_is_told_why(text: str, reason: DropReason, told: str) -> None:
    with pytest.raises(ReplyError) as caught:
        parse_parents(text, 3)
    assert caught.value.reason is reason
    assert told in str(caught.value)


# --- the authors' published examples ---------------------------------------------------------------------------------

RATIOS = [1.0, 2.33, 2.5, 0.93, 1.2, 1.6, 0.89, 2.0, 1.25, 1.2, 1.83]
_INLINE = re.compile(r"<plan>\n(.*?)\n</plan>\s*<prompt>\n(.*?)\n</prompt>\s*<execution>\n(.*?)\n</execution>", re.S)


@pytest.fixture(scope="module")
def published(reference_data: Path) -> list[dict[str, Any]]:
    path = reference_data / "reference" / "published_curation_examples.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _lines_in(row: dict[str, Any]) -> int:
    return max(map(int, re.findall(r"\d+", " ".join(re.findall(r"Lines? [\d-]+", row["component_separation"])))))


def _annotation(row: dict[str, Any]) -> Annotation:
    steps = parse_steps(row["component_separation"], _lines_in(row), strict=False)
    graph = {int(step): parents for step, parents in row["dag"].items()}
    return Annotation(steps, parse_parents(f"```python\nparent_dictionary = {graph}\n```", len(steps)))


def _packable(annotation: Annotation) -> list[Step]:
    """Steps as the authors packed them; the texts do not matter here."""
    steps = []
    for index, (step, parents) in enumerate(zip(annotation.steps, annotation.parents, strict=True), 1):
        runs = step.execution is not None and len(step.execution) > annotate.FOLD_LINES
        steps.append(Step(index, "plan", "did" * runs, step.instruction * runs, parents))
    return steps


def test_every_published_component_is_read_with_its_prompt_and_its_parts(published: list[dict[str, Any]]) -> None:
    assert sum(len(_annotation(row).steps) for row in published) == 139
    for row in published:
        read = [(step.instruction, step.plan is None, step.execution is None) for step in _annotation(row).steps]
        inline = _INLINE.findall(row["component_inline"])
        assert read == [(prompt.strip(), plan == "None", execution == "None") for plan, prompt, execution in inline]


def test_published_graphs_and_ranges_are_read_as_written(published: list[dict[str, Any]]) -> None:
    assert len(published) == 11
    for row in published:
        annotation = _annotation(row)
        assert [list(parents) for parents in annotation.parents] == list(row["dag"].values())
        said = re.findall(r"\*\*(?:Plan|Execution|Comment):\*\* Lines? (\d+)(?:-(\d+))?", row["component_separation"])
        parts = (part for step in annotation.steps for part in (step.plan, step.execution, step.comment) if part)
        assert [(part.first, part.last) for part in parts] == [(int(a), int(b or a)) for a, b in said]


def test_published_components_that_overlap_are_refused_as_the_gate_refuses_them(
    published: list[dict[str, Any]],
) -> None:
    refused = []
    for number, row in enumerate(published):
        with pytest.raises(UnusableAnnotation) if number in (0, 1, 6) else nullcontext():
            annotate.steps_of(_annotation(row), ["text\n"] * _lines_in(row))
        try:
            parse_steps(row["component_separation"], _lines_in(row))
        except ReplyError as error:
            refused.append((number, error.reason))
    assert refused == [(number, DropReason.BAD_RANGES) for number in (0, 1, 6)]


def test_published_examples_pack_into_the_published_rounds(published: list[dict[str, Any]]) -> None:
    packed = [_packable(_annotation(row)) for row in published]
    assert [round(rounds.ratio(steps), 2) for steps in packed] == RATIOS
    assert [number for number, steps in enumerate(packed) if len(rounds.by_round(steps)) > 11] == [3]
    kept = [number for number, row in enumerate(published) if row["trajectory"]]
    assert kept == [number for number, ratio in enumerate(RATIOS) if ratio >= 1.5] == [1, 2, 5, 7, 10]
    for number in kept:
        found = re.findall(r"<prompt_(\d+)\.(\d+)> (.*?) </prompt_", published[number]["trajectory"])
        ids = rounds.prompt_ids(packed[number])
        assert {(int(i), int(k)): text for i, k, text in found} == {
            id: packed[number][index - 1].instruction for index, id in ids.items()
        }


def test_published_annotations_without_overlaps_survive_our_grammar(published: list[dict[str, Any]]) -> None:
    for number, row in enumerate(published):
        if number not in (0, 1, 6):
            assert _read(encode(_annotation(row), _lines_in(row)), _lines_in(row)) == _annotation(row)
