"""Laws of contamination: a copy is found however it is set, a turn of phrase or a drawing is none."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.contamination import Contamination

PROBLEM = (
    r"Let $x$ be a real number such that $\dfrac{1}{2}x + 3 = 1,000$. Find, in simplest form, the value of "
    r"$\left(x^2 + 1\right)$."
)
SHORT = "Find the value of $7^{12}$."


def _index(*texts: str, n: int = 13) -> Contamination:
    return Contamination.of([(f"set row {number}", text) for number, text in enumerate(texts, 1)], n)


@pytest.mark.parametrize(
    "copy",
    [
        PROBLEM,
        PROBLEM.upper().replace(r"\DFRAC", r"\dfrac").replace(r"\LEFT", "").replace(r"\RIGHT", ""),
        PROBLEM.replace("$", "").replace(r"\dfrac", r"\frac").replace(r"\left", "").replace(r"\right", ""),
        PROBLEM.replace(" ", "\n ").replace("1,000", "1000").replace(",", ""),
        f"Solve this. {PROBLEM} Put the answer in a box.",
        PROBLEM.replace("Let", "Suppose").replace("+ 1", "+ 2"),
    ],
)
def test_a_copy_is_found_however_it_is_set(copy: str) -> None:
    assert _index("What is the colour of the sky on a clear day?", PROBLEM).find(copy) == "set row 2"


def test_other_questions_are_not_found_and_numbers_count() -> None:
    index = _index(PROBLEM, SHORT)
    assert index.find("How many apples does Ann have if she starts with twelve and gives five away to each boy?") == ""
    assert index.find(SHORT.replace("7", "8")) == ""
    assert index.find("") == ""


def test_a_short_problem_matches_only_as_a_whole() -> None:
    index = _index(SHORT, "Find $x$.")
    assert index.find(SHORT.lower()) == "set row 1"
    assert index.find(f"{SHORT} Then say what it means for us.") == ""
    assert index.find("Find $x$.") == ""  # too short to mean anything


def test_what_several_problems_share_is_a_turn_of_phrase() -> None:
    phrase = "can be written as m over n where m and n are relatively prime positive integers. Find m plus n."
    one, two = f"The area of the red square {phrase}", f"The length of a long blue line {phrase}"
    assert _index(one, two).find(f"Some other number {phrase}") == ""
    assert _index(one, two).find(two) == "set row 2"
    assert _index(one, one).find(f"Some other number {phrase}") == "set row 1"  # the same problem in two sets


def test_drawings_are_not_compared() -> None:
    drawing = "[asy] draw((0,0)--(1,1)); draw((0,1)--(1,0)); dot((0,0)); dot((1,1)); label(3); [/asy]"
    assert _index(f"How long is the diagonal? {drawing}").find(f"What is the area? {drawing}") == ""


@given(st.lists(st.sampled_from(["two", "3", "x", "plus", "find"]), min_size=5, max_size=40), st.integers(3, 15))
def test_every_problem_of_five_words_finds_itself(words: list[str], n: int) -> None:
    text = " ".join(words)
    assert _index(text, n=n).find(text) == "set row 1"
    assert _index(text, n=n).find(f"so {text} so") == ("set row 1" if len(words) >= n else "")


def test_an_index_is_the_same_in_every_process() -> None:
    index = _index(PROBLEM, SHORT)
    assert pickle.loads(pickle.dumps(index)) == index
    script = f"from sprint.contamination import Contamination as C; print(sorted(C.of([('a', {PROBLEM!r})]).runs))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == sorted(Contamination.of([("a", PROBLEM)]).runs)


def test_the_evaluation_sets_find_themselves_and_hardly_a_training_problem(reference_data: Path) -> None:
    def texts(folder: str) -> list[tuple[str, str]]:
        return [
            (f"{path.stem} row {number}", json.loads(line)["problem"])
            for path in sorted((reference_data / folder).glob("*.jsonl"))
            if path.stem != "countdown"
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        ]

    problems = texts("benchmarks")
    index = Contamination.of(problems)
    assert sum(bool(index.find(text)) for _, text in problems) > 0.99 * len(problems)
    found = [index.find(text) for _, text in texts("traces")]
    assert sum(map(bool, found)) < 0.02 * len(found)
