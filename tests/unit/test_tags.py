"""Laws of the tags: nothing lost under any chunking, and parse is the inverse of render."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint import tags
from sprint.errors import ProtocolError
from sprint.render import trajectory_text
from sprint.tags import Tag, TagKind, TagLexer, Text, lex, parse, prompts_of
from sprint.types import Execution, Round, Trajectory
from tests.unit.strategies import chunked, merged, trajectories

EXAMPLE = Trajectory(
    (
        Round("Two things.\n<prompt_1.1> a </prompt_1.1>\n-----\n<prompt_1.2> b </prompt_1.2>", (
            Execution("A is 1."), Execution("B is 2."))),
        Round("Nothing to hand out."),
    ),
    "So \\boxed{3}.",
)  # fmt: skip


def test_a_trajectory_is_spelled_as_published() -> None:
    assert trajectory_text(EXAMPLE) == (
        "<think>\n<Plan_1>\nTwo things.\n<prompt_1.1> a </prompt_1.1>\n-----\n<prompt_1.2> b </prompt_1.2>\n"
        "</Plan_1>\n\n"
        "<Execution_1>\n<execution_1.1>\nA is 1.\n</execution_1.1>\n\n<execution_1.2>\nB is 2.\n</execution_1.2>\n"
        "</Execution_1>\n\n<Plan_2>\nNothing to hand out.\n</Plan_2>\n\n<Execution_2>\nNo prompt to execute.\n"
        "</Execution_2>\n\n<Final_answer>\nSo \\boxed{3}.\n</Final_answer>\n</think>"
    )


@given(trajectories())
def test_parse_is_the_inverse_of_render(trajectory: Trajectory) -> None:
    assert parse(trajectory_text(trajectory)) == trajectory


@given(trajectories(), st.data())
def test_lexing_does_not_depend_on_the_chunking(trajectory: Trajectory, data: st.DataObject) -> None:
    text = trajectory_text(trajectory)
    lexer = TagLexer()
    pieces = [piece for chunk in data.draw(chunked(text)) for piece in lexer.feed(chunk)] + lexer.close()
    assert merged(pieces) == lex(text)
    assert "".join(piece.text for piece in pieces) == text


@given(st.text(alphabet="<>/Plan_prompt_1.2 execution\n", max_size=60), st.data())
def test_no_text_is_lost_or_invented(text: str, data: st.DataObject) -> None:
    lexer = TagLexer()
    pieces = [piece for chunk in data.draw(chunked(text)) for piece in lexer.feed(chunk)] + lexer.close()
    assert "".join(piece.text for piece in pieces) == text
    assert merged(pieces) == lex(text)


def test_a_tag_comes_out_with_the_character_that_completes_it() -> None:
    lexer = TagLexer()
    text = "go </prompt_12.3>"
    assert [piece for c in text[:-1] for piece in lexer.feed(c) if isinstance(piece, Tag)] == []
    assert lexer.feed(text[-1]) == [Tag(TagKind.PROMPT, True, 12, 3)]


def test_only_what_may_become_a_tag_is_held_back() -> None:
    lexer = TagLexer()
    assert lexer.feed("x < y and ") == [Text("x < y and ")]
    assert lexer.feed("<Pla") == []
    assert lexer.feed("ne>") == [Text("<Plane>")]
    assert lexer.held == ""


@pytest.mark.parametrize("kind", list(TagKind))
@pytest.mark.parametrize("is_closing", [True, False])
def test_every_tag_reads_back_as_it_is_spelled(kind: TagKind, is_closing: bool) -> None:
    numbers = {TagKind.THINK: (0, 0), TagKind.FINAL: (0, 0), TagKind.PLAN: (3, 0), TagKind.EXECUTIONS: (3, 0)}
    tag = Tag(kind, is_closing, *numbers.get(kind, (3, 11)))
    assert lex(tag.text) == [tag]


def test_an_unclosed_prompt_is_not_a_prompt() -> None:
    assert prompts_of("<prompt_1.1> a </prompt_1.1> <prompt_1.2> b") == ("a",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected <Plan_1>, found the end of the text"),
        ("<Plan_1>\nx", "</Plan_1> is missing before the end of the text"),
        ("<Plan_2>\nx\n</Plan_2>", "expected <Plan_1>, found '<Plan_2>'"),
        ("<Plan_1>\n<prompt_1.2> x </prompt_1.2>\n</Plan_1>", "not numbered 1.1, 1.2"),
        ("<Plan_1>\nx\n</Plan_1>\n<Execution_1>\nhm\n</Execution_1>", "expected 'No prompt to execute.'"),
        (trajectory_text(EXAMPLE) + " more", "text after the end of the trajectory: ' more'"),
        (trajectory_text(EXAMPLE).removesuffix("</think>"), "expected </think>"),
    ],
)
def test_a_broken_trajectory_is_refused_with_the_place(text: str, complaint: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert complaint in str(caught.value)


def test_names_are_spelled_in_one_place() -> None:
    assert tags.name(2, 3) == "execution_2.3"
    assert tags.prompt(2, 3, "go") == "<prompt_2.3> go </prompt_2.3>"
