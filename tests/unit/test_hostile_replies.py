"""Replies made to hurt: long, lopsided, broken. Each is answered, in time that grows no faster than the reply."""

from __future__ import annotations

import asyncio
import json

import pytest

from sprint import questions
from sprint.dialogue import Annotated, DialogueOptions, Unusable, ask_all, converse
from sprint.lines import split
from sprint.model_text import json_in
from sprint.replies import ReplyError, parse_parents, parse_steps
from sprint.requests import AnnotationUsage, Reply, Request
from sprint.types import DropReason

NUM_LINES = 20_000
LONG = 60_000
TRACE = split("Let me add.\n1+1=2.\nIt is 2.\n")


def test_the_lines_of_a_long_trace_are_spelled_as_ranges() -> None:
    gaps = [line for line in range(1, NUM_LINES + 1) if line % 1000]
    spelled = questions.spelled(gaps)
    assert spelled.startswith("lines 1-999, 1001-1999, ")
    assert spelled.count("-") == NUM_LINES // 1000
    assert questions.spelled([7]) == "line 7"


def test_the_parents_of_a_long_trace_can_be_asked_for() -> None:
    steps = parse_steps(f"P1 E2\nP{NUM_LINES - 9} E{NUM_LINES - 5}", NUM_LINES)
    asked = questions.ask_parents((), steps, NUM_LINES)[-1].content
    assert f"1: lines 1-{NUM_LINES - 10}\n2: lines {NUM_LINES - 9}-{NUM_LINES}\n" in asked


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": [ ' + "#" * LONG + '"',
        "-" + " " * LONG + "x",
        '{"parents": {"' + " " * LONG + 'x": [1]}}',
        '{"parents": [["' + " " * LONG + 'x"]]}',
        '{"parents": ' + "[" * LONG,
        "\n" * LONG + "x",
        "```\n" * (LONG // 4),
        "= " * (LONG // 2),
        "; " * LONG,
    ],
    ids=lambda text: text[:12] + text[-4:],
)
def test_a_reply_that_means_nothing_is_refused_in_a_sentence(text: str) -> None:
    for read in (parse_steps, parse_parents):
        with pytest.raises(ReplyError) as caught:
            read(text, NUM_LINES)
        assert caught.value.reason is DropReason.UNPARSED_STEPS
        assert len(str(caught.value)) < 200


def test_lines_named_thousands_of_times_are_told_by_the_first() -> None:
    with pytest.raises(ReplyError) as caught:
        parse_steps(f"P{NUM_LINES}-{NUM_LINES}\n" + f"P1-{NUM_LINES}\n" * (LONG // 9), NUM_LINES)
    assert "step 2, plan: line 20000 stands in step 1 already" in str(caught.value)
    assert caught.value.reason is DropReason.BAD_RANGES


@pytest.mark.parametrize(("second", "line"), [("E4-5", 5), ("E7-9", 7), ("E1-20", 5), ("E6-6", 6)])
def test_the_line_named_twice_is_the_first_one(second: str, line: int) -> None:
    with pytest.raises(ReplyError, match=f"step 3, execution: line {line} stands in step 2 already"):
        parse_steps(f"P25-30\nP5-7\n{second}", 30)


@pytest.mark.parametrize("second", ["E1-4", "E8-9", "E8-24"])
def test_lines_beside_others_are_not_named_twice(second: str) -> None:
    assert len(parse_steps(f"P25-30\nP5-7\n{second}", 30)) == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1], # the "first"\n"b": 2} # end', None),
        ('{"a": [1], # the first\n "b": "x # y", # last # of all\n}', {"a": [1], "b": "x # y"}),
        ("{'a': 1, # one\n}", {"a": 1}),
    ],
)
def test_comments_end_at_a_quotation_mark(text: str, value: object) -> None:
    if value is None:
        with pytest.raises(ValueError, match="broken"):
            json_in(text)
    else:
        assert json_in(text) == value


@pytest.mark.parametrize(
    ("line", "parents"),
    [
        ("  - Step 2 : 1", (1,)),
        ("> step #2 <- 1", (1,)),
        ('2" : 1', (1,)),
        ("• 2 depends on 1", (1,)),
        ("2 needs 1", (1,)),
    ],
)
def test_an_entry_may_be_dressed_up(line: str, parents: tuple[int, ...]) -> None:
    assert parse_parents(line, 2) == ((), parents)


@pytest.mark.parametrize("key", ["2", "step 2", " Step #2 ", "component  2"])
def test_a_key_may_be_dressed_up(key: str) -> None:
    assert parse_parents(json.dumps({"parents": {key: [1]}}), 2) == ((), (1,))


def _asked(*texts: str) -> Annotated | Unusable:
    said = iter(texts)

    async def ask(request: Request) -> Reply:
        return Reply(next(said), usage=AnnotationUsage(1, 0, 0, 10, None, 5))

    return asyncio.run(ask_all(converse("?", TRACE, DialogueOptions(least_tokens=100)), ask))


def test_a_reply_with_more_characters_than_its_tokens_can_hold_is_not_read() -> None:
    good = "P1 E2"
    assert isinstance(_asked(good + "\n" * (2_000 - len(good))), Annotated)
    too_long = good + "\n" * 2_001
    outcome = _asked(too_long, too_long)
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.UNPARSED_STEPS
    assert "2006 characters, too many for 100 tokens" in outcome.detail


def test_a_reply_that_breaks_its_reader_costs_one_trace_and_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, num_lines: int) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("sprint.dialogue.parse_steps", broken)
    outcome = _asked("P1 E2")
    assert isinstance(outcome, Unusable)
    assert (outcome.reason, outcome.detail) == (DropReason.ANNOTATION_FAILED, "RecursionError: too deep")
    assert (outcome.usage.num_calls, [exchange.text for exchange in outcome.exchanges]) == (1, ["P1 E2"])


def test_of_thousands_of_missing_parents_the_first_are_named() -> None:
    with pytest.raises(ReplyError) as caught:
        parse_parents("1: " + ";" * LONG, NUM_LINES)
    assert str(caught.value).startswith("the parents of step 2, 3, 4, ")
    assert str(caught.value).endswith(f"21 and {NUM_LINES - 21} more are missing.")
