"""Laws of the annotating conversation: what is asked, when it is asked again, and how it ends, whoever drives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import questions
from sprint.annotate import UnusableAnnotation
from sprint.dialogue import (
    Annotated,
    Conversation,
    DialogueOptions,
    Outcome,
    Pending,
    Unusable,
    ask_all,
    converse,
    replay,
    replies_of,
)
from sprint.errors import ConfigError
from sprint.lines import split
from sprint.replies import encode, parse_parents, parse_steps
from sprint.requests import AnnotationUsage, Purpose, Reply, Request, RequestFailed, Role
from sprint.types import Annotation, DropReason, LineRange, StepLines

TRACE = split("Let me work out A. \n1+1=2. 2+2=4.\n\nNow B. \\[\n x = 3 \n\\]\nIt is 3.\n")
QUESTION = "What are A and $B$?"
STEPS = (StepLines(LineRange(1, 1), LineRange(2, 3)), StepLines(LineRange(4, 4), LineRange(5, 6)))
ANNOTATION = Annotation(STEPS, ((), ()))
GOOD = {Purpose.STEPS: "P1 E2\nP4 E5", Purpose.PARENTS: "2:"}
DEFAULT = DialogueOptions()
COST = AnnotationUsage(num_calls=1, prompt_tokens=100, cached_tokens=40, output_tokens=9, seconds=0.5)

Script = Callable[[Request], Reply]


def says(texts: dict[Purpose, str], truncated: Iterable[Purpose] = ()) -> Script:
    cut = set(truncated)
    return lambda request: Reply(texts[request.purpose], request.purpose in cut, COST)


def talk(script: Script, options: DialogueOptions = DEFAULT) -> tuple[Outcome, list[Request]]:
    """Drives a conversation to its end, and what was asked."""
    asked: list[Request] = []

    async def ask(request: Request) -> Reply:
        asked.append(request)
        return script(request)

    return asyncio.run(ask_all(converse(QUESTION, TRACE, options), ask)), asked


def purposes(asked: list[Request]) -> list[Purpose]:
    return [request.purpose for request in asked]


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_two_good_replies_are_an_annotation() -> None:
    outcome, asked = talk(says(GOOD))
    assert isinstance(outcome, Annotated)
    assert outcome.annotation == ANNOTATION
    assert purposes(asked) == [Purpose.STEPS, Purpose.PARENTS]
    assert [(e.key, e.text) for e in outcome.exchanges] == [(r.key, GOOD[r.purpose]) for r in asked]
    assert outcome.usage == AnnotationUsage(2, 0, 0, 200, 80, 18, 1.0)


def test_a_single_step_has_no_parents_to_ask_for() -> None:
    outcome, asked = talk(says({Purpose.STEPS: "P1 E2"}))
    assert isinstance(outcome, Annotated)
    assert outcome.annotation == Annotation((StepLines(LineRange(1, 1), LineRange(2, 6)),), ((),))
    assert purposes(asked) == [Purpose.STEPS]


def test_what_was_wrong_is_told_once_and_the_mended_reply_counts() -> None:
    texts = {Purpose.STEPS: "P1 E99", Purpose.STEPS_REPAIR: "P1 E2\nP4 E5"}
    texts |= {Purpose.PARENTS: "2: 2", Purpose.PARENTS_REPAIR: "2:"}
    outcome, asked = talk(says(texts))
    assert isinstance(outcome, Annotated)
    assert outcome.annotation == ANNOTATION
    assert purposes(asked) == list(texts)
    assert (outcome.usage.num_calls, outcome.usage.num_repairs) == (4, 2)
    assert [message.content for message in asked[1].messages[2:3]] == ["P1 E99"]
    assert "step 1, execution: line 99 does not exist" in asked[1].messages[-1].content
    assert "step 2 names step 2 as a parent" in asked[3].messages[-1].content


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({Purpose.STEPS: "hm", Purpose.STEPS_REPAIR: "well"}, DropReason.UNPARSED_STEPS),
        ({Purpose.STEPS: "hm", Purpose.STEPS_REPAIR: "P3 E2"}, DropReason.BAD_RANGES),
        (GOOD | {Purpose.PARENTS: "[[]", Purpose.PARENTS_REPAIR: "hm"}, DropReason.UNPARSED_STEPS),
        (GOOD | {Purpose.PARENTS: "2: 2", Purpose.PARENTS_REPAIR: "2: 3"}, DropReason.BAD_PARENTS),
    ],
)
def test_a_repair_that_is_unusable_too_ends_it(texts: dict[Purpose, str], reason: DropReason) -> None:
    outcome, asked = talk(says(texts))
    assert isinstance(outcome, Unusable)
    assert outcome.reason is reason
    assert outcome.detail.startswith("after a repair: ")
    assert len(outcome.exchanges) == len(asked) == outcome.usage.num_calls
    assert outcome.usage.num_repairs == 1


def test_without_repair_the_first_unusable_reply_ends_it() -> None:
    outcome, asked = talk(says({Purpose.STEPS: "hm"}), DialogueOptions(repair=False))
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.UNPARSED_STEPS
    assert purposes(asked) == [Purpose.STEPS]


def test_a_reply_cut_off_is_asked_for_again_with_twice_the_room_even_if_it_could_be_read() -> None:
    outcome, asked = talk(says(GOOD | {Purpose.STEPS_REPAIR: "P1 E2\nP4 E5"}, truncated=[Purpose.STEPS]))
    assert isinstance(outcome, Annotated)
    assert [exchange.truncated for exchange in outcome.exchanges] == [True, False, False]
    assert asked[1].max_tokens == 2 * asked[0].max_tokens
    assert "cut off" in asked[1].messages[-1].content
    outcome, _ = talk(says(GOOD | {Purpose.STEPS_REPAIR: "P1"}, truncated=[Purpose.STEPS, Purpose.STEPS_REPAIR]))
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.UNPARSED_STEPS


def test_lines_left_out_are_asked_for_where_coverage_matters() -> None:
    texts = GOOD | {Purpose.STEPS: "P1 E2-2\nP4 E5-5"}
    assert isinstance(talk(says(texts))[0], Annotated)
    assert isinstance(talk(says(texts), DialogueOptions(min_coverage=4 / 6))[0], Annotated)
    mended = texts | {Purpose.STEPS_REPAIR: GOOD[Purpose.STEPS]}
    outcome, asked = talk(says(mended), DialogueOptions(min_coverage=1))
    assert isinstance(outcome, Annotated)
    assert "it leaves out lines 3, 6," in asked[1].messages[-1].content
    outcome, _ = talk(says(texts | {Purpose.STEPS_REPAIR: "P1 E2-2"}), DialogueOptions(min_coverage=1))
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.UNCOVERED_TEXT


def test_a_request_that_fails_ends_it_with_what_was_said_and_spent_so_far() -> None:
    def script(request: Request) -> Reply:
        if request.purpose is Purpose.PARENTS:
            raise RequestFailed("refused", AnnotationUsage(num_failures=3, seconds=2.0))
        return says(GOOD)(request)

    outcome, _ = talk(script)
    assert isinstance(outcome, Unusable)
    assert (outcome.reason, outcome.detail) == (DropReason.REQUEST_FAILED, "refused")
    assert [exchange.purpose for exchange in outcome.exchanges] == [Purpose.STEPS]
    assert outcome.usage == AnnotationUsage(1, 0, 3, 100, 40, 9, 2.5)


def test_other_errors_are_the_callers() -> None:
    def script(request: Request) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        talk(script)


def test_a_trace_without_text_is_not_asked_about() -> None:
    with pytest.raises(UnusableAnnotation):
        next(converse(QUESTION, [" \n"]))
    outcome = replay(converse(QUESTION, []), {})
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.ANNOTATION_FAILED


# --- replaying -------------------------------------------------------------------------------------------------------


def conversation(options: DialogueOptions = DEFAULT) -> Conversation:
    return converse(QUESTION, TRACE, options)


def test_replaying_stops_at_the_first_request_without_a_reply() -> None:
    known: dict[str, Reply | RequestFailed] = {}
    seen = []
    script = says(GOOD | {Purpose.STEPS: "?", Purpose.STEPS_REPAIR: GOOD[Purpose.STEPS]})
    while isinstance(state := replay(conversation(), known), Pending):
        seen.append((state.request.purpose, len(state.exchanges), state.usage.num_calls))
        known[state.request.key] = script(state.request)
    assert seen == [(Purpose.STEPS, 0, 0), (Purpose.STEPS_REPAIR, 1, 1), (Purpose.PARENTS, 2, 2)]
    assert state == talk(script)[0]


def test_a_failure_may_be_replayed_like_a_reply() -> None:
    state = replay(conversation(), {})
    assert isinstance(state, Pending)
    outcome = replay(conversation(), {state.request.key: RequestFailed("refused")})
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DropReason.REQUEST_FAILED


_TEXTS = st.sampled_from(["P1 E2\nP4 E5", "P1", "P1 E2 P9", "2:", "2: 1", "hm", "", "[[], [1]]", "P2 E4", "[[", "1: 1"])


@given(
    st.lists(st.tuples(_TEXTS, st.booleans()), min_size=4, max_size=4),
    st.builds(
        DialogueOptions, repair=st.booleans(), structured=st.booleans(), min_coverage=st.sampled_from([0.0, 1.0])
    ),
)
def test_what_was_recorded_replays_to_the_same_end_for_nothing(
    replies: list[tuple[str, bool]], options: DialogueOptions
) -> None:
    said = iter(replies)
    outcome, asked = talk(lambda request: Reply(*next(said), COST), options)
    again = replay(conversation(options), replies_of(outcome.exchanges))
    assert type(again) is type(outcome)
    assert again.exchanges == outcome.exchanges
    assert again.usage == AnnotationUsage()
    assert getattr(again, "annotation", None) == getattr(outcome, "annotation", None)
    assert getattr(again, "detail", None) == getattr(outcome, "detail", None)
    assert outcome.usage.num_calls == len(asked) == len({request.key for request in asked})
    assert outcome.usage.num_repairs == sum(request.purpose.is_repair for request in asked)


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_the_second_question_continues_the_chat_of_the_first() -> None:
    for structured in (False, True):
        texts = {Purpose.STEPS: f"Here you are!\n{GOOD[Purpose.STEPS]}\n", Purpose.PARENTS: GOOD[Purpose.PARENTS]}
        _, (first, second) = talk(says(texts), DialogueOptions(structured=structured))
        assert second.messages[:2] == first.messages
        assert [m.role for m in second.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
        assert second.messages[2].content == encode(ANNOTATION, 6, structured=structured)[0]
        assert "1: lines 1-3\n2: lines 4-6\n" in second.messages[3].content


def test_all_traces_share_the_beginning_and_each_line_is_numbered_once() -> None:
    system, asked = questions.ask_steps(QUESTION, TRACE, 3)
    assert system == questions.ask_steps("Another?", ["text"], 3)[0]
    assert QUESTION in asked.content
    shown = "1: Let me work out A.\n2: 1+1=2.\n3: 2+2=4.\n\n4: Now B.\n5: \\[ x = 3 \\]\n6: It is 3.\n\n"
    assert f"\n{shown}" in asked.content
    assert asked.content.endswith("and nothing else.")


def test_the_model_is_told_which_executions_are_the_planners_own() -> None:
    (system, _) = questions.ask_steps(QUESTION, TRACE, 7)
    assert "executions of up to 7 lines" in system.content


def test_schemas_are_sent_only_where_json_is_asked_for() -> None:
    _, plain = talk(says(GOOD))
    _, structured = talk(says(GOOD), DialogueOptions(structured=True))
    assert [request.schema for request in plain] == [None, None]
    assert [request.schema for request in structured] == [questions.STEPS_SCHEMA, questions.PARENTS_SCHEMA]
    assert all("JSON" in request.messages[-1].content for request in structured)
    assert not any("JSON" in message.content for request in plain for message in request.messages)


def test_the_worked_examples_of_the_prompts_are_readable_and_agree() -> None:
    example = questions.ask_steps(QUESTION, TRACE, 3)[0].content.partition("Example.")[2]
    shown, _, reply = example.partition("Reply:\n")
    steps = parse_steps(reply, shown.count("\n") - 1)
    assert len(steps) == 4
    assert steps[-1].comment == LineRange(11, 11)
    lines, listed = (
        questions.ask_parents((), steps, 11, structured=structured)[-1].content.partition("afresh:\n")[2]
        for structured in (False, True)
    )
    assert parse_parents(lines.partition("\n\n")[0], 4) == ((), (), (1, 2), ())
    assert parse_parents(listed.partition("\n\n")[0], 4) == ((), (), (1, 2), ())


def test_a_reply_without_end_is_shown_again_only_in_part() -> None:
    noise = "<think>so</think>" + "blah " * 9_000
    _, asked = talk(says({Purpose.STEPS: noise, Purpose.STEPS_REPAIR: ""}))
    shown = asked[1].messages[2].content
    assert shown.startswith("blah blah")
    assert len(shown) < 5_000
    assert questions.ask_again((), "<think>so</think>\n", "?")[0].content  # endpoints refuse an empty message


def test_the_hash_names_the_wording() -> None:
    assert questions.prompts_hash() == questions.prompts_hash()
    assert len(questions.prompts_hash()) == 64


# --- room ------------------------------------------------------------------------------------------------------------


def test_the_room_grows_with_the_trace_between_its_bounds() -> None:
    options = DialogueOptions(max_output_share=0.5, least_tokens=100, max_tokens=1_000, thinking_tokens=10)
    assert [options.room(chars) for chars in (1, 1_200, 60_000)] == [110, 210, 1_010]
    assert [options.room(chars, doubled=True) for chars in (1, 1_200, 60_000)] == [210, 410, 1_010]


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_coverage", 1.1), ("min_coverage", -0.1), ("max_tokens", 0), ("least_tokens", 0), ("fold_lines", -1),
     ("thinking_tokens", -1), ("max_output_share", -0.1)],
)  # fmt: skip
def test_options_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is {value}, expected at "):
        DialogueOptions(**{name: value})  # type: ignore[arg-type]
