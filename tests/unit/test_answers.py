"""Laws of extracting and comparing final answers."""

from __future__ import annotations

import random
import threading

import pytest

from sprint.answers import boxed, final_sentence, last_boxed, normalise, same_answer

SAME = [
    ("5", "5."),
    (r"\frac{14}{3}", r"\dfrac{14}{3}"),
    (r"\frac43", r"\frac{4}{3}"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}"),
    (r"90^\circ", "90"),
    (r"10,\!080", "10080"),
    (r"11,\! 111,\! 111,\! 100", "11111111100"),
    (r"\text{Evelyn}", "Evelyn"),
    (r"\text{(C)}", "C"),
    ("C", "(C) 42"),
    ("B", "b"),
    ("C", "C. the third"),
    ("x=5", "5"),
    ("1,-2", "-2, 1"),
    ("0.5", r"\frac{1}{2}"),
    (".0000672", "0.0000672"),
    ("p - q", "-q + p"),
    (r"11\sqrt2", r"\sqrt{242}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \frac{\pi}{2})"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{pmatrix} -\frac{1}{3} \\ \frac23 \end{pmatrix}"),
    ("4210_{5}", "4210_5"),
    ("50", r"50\%"),
    (r"\$18.90", "18.9"),
    ("x^2+y^2=4", "y^2+x^2=4"),
    (r"x^5 - x^4 + 1", "1 - x^4 + x^5"),
    (r"\frac{4^{2024}}{\binom{4048}{2024}}-2", r"-2 + \frac{4^{2024}}{\binom{4048}{2024}}"),
    (r"2^{25} \cdot 26!", r"26! \cdot 2^{25}"),
    (r"e^{x^2}", r"e^{xx}"),
    (r"\dfrac{2469}{20,\!000}", r"\frac{2469}{20000}"),
]
DIFFERENT = [
    ("5", "6"),
    ("C", "D"),
    ("C", "Cat"),
    ("(1,2)", "(2,1)"),
    ("(3,4]", "(3,4)"),
    ("even", "veen"),
    ("4210_5", "4210_7"),
    ("5", ""),
    ("", ""),
    (r"\frac{1}{2}", r"\frac{2}{1}"),
]
GARBAGE = [
    "",
    "{",
    "}{",
    "\\",
    "\\frac",
    "((((",
    "\\boxed{",
    "\x00",
    "\\text{",
    "__import__('os')",
    "é😀",
    "9^{9^{9^{9}}}",
]


@pytest.mark.parametrize(("gold", "given"), SAME)
def test_the_same_answer_in_another_spelling_is_the_same(gold: str, given: str) -> None:
    assert same_answer(gold, given)


@pytest.mark.parametrize(("gold", "given"), DIFFERENT)
def test_another_answer_is_not_the_same(gold: str, given: str) -> None:
    assert not same_answer(gold, given)


@pytest.mark.parametrize("given", [*GARBAGE, "(" * 5000, "9!" * 2000, "9999999999!", "10^{9999999}", "((9!)!)!"])
def test_garbage_is_never_an_answer_and_never_raises(given: str) -> None:
    assert not same_answer("5", given)
    assert same_answer(given, "5") is False
    final_sentence(given)
    last_boxed(given)


def test_random_text_never_raises() -> None:
    rng = random.Random(0)
    for _ in range(150):
        text = "".join(rng.choices(["\\", "{", "}", "boxed", "\\boxed{", "\n", ". ", "$", "^", "1", "("], k=12))
        last_boxed(text)
        assert "boxed" in (final_sentence(text) or "boxed")
        assert normalise(normalise(text)) is not None


def test_comparing_works_in_any_thread() -> None:
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda: outcomes.append(same_answer("0.25", r"\frac14"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 3


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
