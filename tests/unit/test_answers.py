"""Laws of finding final answers in a text. Whether two are the same: test_grading."""

from __future__ import annotations

import random

import pytest

from sprint.answers import boxed, final_sentence, last_boxed, normalise, stated_answer


def test_random_text_never_raises() -> None:
    rng = random.Random(0)
    for _ in range(150):
        text = "".join(rng.choices(["\\", "{", "}", "boxed", "\\boxed{", "\n", ". ", "$", "^", "1", "("], k=12))
        last_boxed(text)
        assert "boxed" in (final_sentence(text) or "boxed")
        assert normalise(normalise(text)) is not None


def test_a_boxed_answer_comes_back_out_of_its_box() -> None:
    for answer in ["5", r"\frac{1}{2}", r"\{1, 2\}", r"\text{a {b} c}", "((8*3)+5)"]:
        assert last_boxed(f"First {boxed('0')}. So it is ${boxed(answer)}$.") == answer


def test_the_last_closed_box_counts() -> None:
    assert last_boxed(r"\boxed{1} then \boxed{2}") == "2"
    assert last_boxed(r"\boxed{1} then \boxed{2 and cut off") == "1"
    assert last_boxed(r"\boxed{\boxed{7}}") == "7"
    assert last_boxed(r"\boxed {3}") == "3"
    assert last_boxed("no box") is None
    assert last_boxed("\\boxed{" * 20_000) is None


def test_the_final_sentence_is_the_last_one_with_a_box() -> None:
    response = "We add 2.5 and 2.5. That is 5.\n\nSo \\boxed{4}? No. Thus the answer is \\(\\boxed{5}\\). Done."
    assert final_sentence(response) == "Thus the answer is \\(\\boxed{5}\\)."
    assert final_sentence("**Final Answer**\n\\[\n\\boxed{5}\n\\]\n\nBye.") == "**Final Answer**\n\\[\n\\boxed{5}\n\\]"
    assert (
        final_sentence("Adding up.\nSo A=3.\nThe largest value is \\boxed{21}.") == "The largest value is \\boxed{21}."
    )
    assert final_sentence("It is \\boxed{x = 1. And\n\ny = 2} now. Bye.") == "It is \\boxed{x = 1. And\n\ny = 2} now."
    assert final_sentence("nothing here") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: 80", "80"),
        ("**Final Answer:** 80\n\nBye", "80"),
        ("Answer: 1\nThe answer is 2.", "2"),
        ("Therefore, the answer is (C) Plane.", "(C) Plane"),
        ("So the final answer should be 4. Let me write that.", "4"),
        ("The answer is 0.15.", "0.15"),
        ("I answered nothing.", None),
        ("The answer is", None),
        ("answer " * 2000, None),
    ],
)
def test_a_stated_answer_is_found(text: str, answer: str | None) -> None:
    assert stated_answer(text) == answer
