"""Laws of cutting a thought into lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.lines import ends_line, ends_paragraph, split

_PIECES = st.sampled_from(
    [*"abAB12.?!…,$\\()[] \n*", ". ", "...", "e.g. ", "\\[", "\\]", "$$", "\n\n", "1. ", "Ph.D. "]
)


@given(st.one_of(st.text(), st.lists(_PIECES, max_size=60).map("".join)))
def test_lines_together_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text
    assert all(split(text)) or not text


@given(st.lists(_PIECES, max_size=60).map("".join))
def test_outside_formulas_no_line_goes_on_after_a_line_break(text: str) -> None:
    if "\\" not in text and "$" not in text:
        assert all("\n" not in line.rstrip() for line in split(text) if line.strip())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One. Two? Three! Four", ["One. ", "Two? ", "Three! ", "Four"]),
        ("Pi is 3.14 here. Yes.", ["Pi is 3.14 here. ", "Yes."]),
        ("1. First of all.\n2. Then.", ["1. First of all.\n", "2. Then."]),
        ("Some, e.g. this, i.e. that. Done.", ["Some, e.g. this, i.e. that. ", "Done."]),
        ("A Ph.D. from the U.S. coast. Done.", ["A Ph.D. from the U.S. coast. ", "Done."]),
        ("Hmm... let me see… maybe. Done.", ["Hmm... let me see… maybe. ", "Done."]),
        ("So 9! is 362880. Next.", ["So 9! is 362880. ", "Next."]),
        ("Let me work out A.\n4+5=9.\n", ["Let me work out A.\n", "4+5=9.\n"]),
        ("He said (no.) Then left.", ["He said (no.) ", "Then left."]),
        ("One.  \n\nTwo", ["One.  \n\n", "Two"]),
        ("So\n\\[\nx = 1. \n\\]\nDone.", ["So\n", "\\[\nx = 1. \n\\]\n", "Done."]),
        ("Here \\(a. b\\) is one. $$a.\nb$$ two.", ["Here \\(a. b\\) is one. ", "$$a.\nb$$ two."]),
        ("", []),
    ],
)
def test_examples(text: str, lines: list[str]) -> None:
    assert split(text) == lines


def test_a_line_says_what_follows_it() -> None:
    assert ends_paragraph("One.\n\n")
    assert ends_line("One.\n")
    assert not ends_paragraph("One.\n")
    assert not ends_line("One. ")


@pytest.mark.parametrize("piece", [" ", ".", "\n", "\\[", "\\(", "$$", "*", "(.)", "a. ", "\\[\n  "])
def test_long_hostile_texts_are_cut_too(piece: str) -> None:
    text = piece * 5_000
    assert "".join(split(text)) == text
