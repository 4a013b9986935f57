"""Laws of countdown: the checker against brute force and mutations, the solver, and the teacher's prose."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, permutations
from pathlib import Path

import pytest

from sprint.answers import boxed
from sprint.errors import InputError
from sprint.tasks import Grade, Split, get_task
from sprint.tasks.countdown import rules_of
from sprint.tasks.countdown_search import solve, starting_hand
from sprint.tasks.expressions import Rules, check

GARBAGE = ["", "{", "}", "((((", "8+", "+8", "8 3", "8**3", "8//3", "0x8", "8.0", "1e1", "__import__('os')", "8*3=24"]
GARBAGE += ["(8*3)+7)", "3(8+7)", "\\frac{8}", "\\frac83", "{8}", "\u0668", "8" * 5000, "(" * 300 + "8" + ")" * 300]
GARBAGE += ["8+" * 5000 + "8", "\x00", "\U0001f600", "abs(8)", "8^3", "8!", "-8", "8--3", "A"]
RULES = Rules((8, 3, 7, 2), 31)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("(8*3)+7", Grade.CORRECT),
        ("((8*3)+7)", Grade.CORRECT),
        ("8 \\times 3 + 7", Grade.CORRECT),
        ("8 \u00d7 3 + 7", Grade.CORRECT),
        ("8 \\cdot 3+7", Grade.CORRECT),
        ("$\\left(8*3\\right)+7$", Grade.CORRECT),
        ("8*\\frac{2+7}{3}+7", Grade.NUMBER_REUSED),
        ("\\frac{8}{2}*7+3", Grade.CORRECT),
        ("8\\div2*7+3", Grade.CORRECT),
        ("8\u00f72*7+3", Grade.CORRECT),
        ("7*8/2+3", Grade.CORRECT),
        ("8/(2/7)+3", Grade.CORRECT),  # 2/7 on the way: exact rationals
        ("8*3+7+2", Grade.WRONG_VALUE),
        ("31", Grade.NUMBER_NOT_GIVEN),
        ("8*3+5", Grade.NUMBER_NOT_GIVEN),
        ("8+8+8+7", Grade.NUMBER_REUSED),
        ("8/(7-3-2-2)", Grade.NUMBER_REUSED),
        ("", Grade.NO_ANSWER),
        *[(text, Grade.NOT_AN_EXPRESSION) for text in GARBAGE if text],
    ],
)
def test_the_checker(text: str, grade: Grade) -> None:
    assert check(text, RULES) is grade


def test_dividing_by_zero_is_an_outcome() -> None:
    assert check("8/(5-3-2)", Rules((8, 5, 3, 2), 8)) is Grade.DIVISION_BY_ZERO
    assert check("8/0", Rules((8, 0), 8)) is Grade.DIVISION_BY_ZERO


def test_where_all_numbers_are_asked_for_all_must_be_used() -> None:
    assert check("8*3+7", Rules((8, 3, 7, 2), 31, use_all=True)) is Grade.NUMBER_UNUSED
    assert check("-2+8", Rules((8, 2), 6, leading_minus=True)) is Grade.CORRECT
    assert check("-0+8", Rules((8,), 8, leading_minus=True)) is Grade.NUMBER_NOT_GIVEN


def test_a_mutated_answer_is_caught() -> None:
    task = get_task("countdown", num_numbers=4, max_number=20, max_target=99)
    for problem in islice(task.problems(Split.TRAIN), 40):
        rules = rules_of(problem.question)
        assert check(problem.answer, Rules(rules.numbers, rules.target + 1)) is Grade.WRONG_VALUE
        assert check(f"({problem.answer})+0", rules) is Grade.NUMBER_NOT_GIVEN
        assert check(f"{problem.answer}+{rules.numbers[0]}+{rules.numbers[0]}", rules) is Grade.NUMBER_REUSED
        number = re.search(r"[0-9]+", problem.answer)
        assert number is not None
        assert check(problem.answer.replace(number[0], "97", 1), rules) is Grade.NUMBER_NOT_GIVEN
        assert check(problem.answer + ")", rules) is Grade.NOT_AN_EXPRESSION


def test_numbers_and_target_come_back_out_of_the_question() -> None:
    for options in ({}, {"num_numbers": 6, "max_number": 99, "max_target": 999}):
        for problem in islice(get_task("countdown", **options).problems(Split.TEST), 20):
            assert rules_of(problem.question) == Rules(tuple(problem.data["numbers"]), problem.data["target"])
    public = "Using the numbers [19, 36, 55, 7], create an equation that equals 65."
    assert rules_of(public) == Rules((19, 36, 55, 7), 65, leading_minus=True)
    strict = "Using all the numbers 2, 3 and 4, make 14."
    assert rules_of(strict) == Rules((2, 3, 4), 14, use_all=True, leading_minus=True)
    with pytest.raises(InputError, match="no numbers and target"):
        rules_of("What is 2+2?")


def brute_force(numbers: list[int]) -> Iterator[tuple[str, Fraction]]:
    """Every full expression over every ordering of every subset: all shapes, all signs, no pruning."""
    for size in range(1, len(numbers) + 1):
        for order in set(permutations(numbers, size)):
            yield from _shapes([(str(number), Fraction(number)) for number in order])


def _shapes(terms: list[tuple[str, Fraction]]) -> Iterator[tuple[str, Fraction]]:
    if len(terms) == 1:
        yield terms[0]
    for cut in range(1, len(terms)):
        for left, a in _shapes(terms[:cut]):
            for right, b in _shapes(terms[cut:]):
                yield f"({left}+{right})", a + b
                yield f"({left}-{right})", a - b
                yield f"({left}*{right})", a * b
                if b:
                    yield f"({left}/{right})", a / b


def test_checker_and_solver_agree_with_brute_force() -> None:
    rng = random.Random(7)
    for numbers in ([rng.randint(1, 12) for _ in range(3)] for _ in range(12)):
        reached = {value: text for text, value in brute_force(numbers)}
        for value, text in reached.items():
            expected = Grade.CORRECT if value == 20 else Grade.WRONG_VALUE
            assert check(text, Rules(tuple(numbers), 20)) is expected
        for target in range(1, 100):
            line = solve(starting_hand(numbers), target, 9_999) if target not in numbers else None
            if line is not None:
                assert check(line[-1].result.text, Rules(tuple(numbers), target)) is Grade.CORRECT
                assert target in reached


def test_the_solver_misses_only_what_needs_fractions() -> None:
    assert solve(starting_hand([1, 6, 6, 8]), 24, 9_999) is None
    assert check("6/(1-6/8)", Rules((1, 6, 6, 8), 24)) is Grade.CORRECT
    assert solve(starting_hand([1, 2, 3]), 97, 9_999) is None


def test_countdown_traces_state_only_true_equations() -> None:
    for options in ({}, {"num_numbers": 5, "max_number": 30, "max_target": 200}):
        task = get_task("countdown", **options)
        for problem in islice(task.problems(Split.TRAIN), 10):
            reasoning = task.teach(problem).reasoning
            found = re.findall(r"^([0-9]+)([-+*/])([0-9]+)=([0-9]+)(?=[ .=])", reasoning, re.MULTILINE)
            assert found
            for left, sign, right, result in found:
                assert check(f"{left}{sign}{right}", Rules((int(left), int(right)), int(result))).is_correct


def test_small_countdown_traces_hold_only_small_numbers_and_long_branches() -> None:
    task = get_task("countdown")
    for problem in islice(task.problems(Split.TRAIN), 30):
        reasoning = task.teach(problem).reasoning
        assert max(map(int, re.findall(r"[0-9]+", reasoning))) <= 50
        blocks = re.split(r"^Let me ", reasoning, flags=re.MULTILINE)[1:]
        assert all(len(block.strip().split("\n")) >= 5 for block in blocks)
        assert blocks[-1].startswith("check ")


def test_every_result_is_told_from_the_target_and_every_hit_is_spelled_out() -> None:
    task = get_task("countdown")
    for problem in islice(task.problems(Split.TRAIN), 30):
        target = problem.data["target"]
        blocks = re.split(r"^Let me ", task.teach(problem).reasoning, flags=re.MULTILINE)[1:]
        branches = [block for block in blocks if block.startswith("try ")]
        assert any(branch.endswith("\nFound.\n") for branch in branches)
        for opening, _, *lines in (branch.strip().split("\n") for branch in branches):
            assert opening.endswith(f" for {target}.")
            assert lines.pop() == ("Found." if any(" is " in line for line in lines) else "Nothing.")
            for line in lines:
                result = re.search(r"=([0-9]+)(.*)\.$", line)
                if result is None:
                    assert re.fullmatch(r"[0-9]+[*+][0-9]+ big\.", line)
                    continue
                value, mark = int(result[1]), result[2]
                assert mark == (" low" if value < target else " high") if value != target else mark[:4] == " is "
                if value == target:
                    assert check(mark[4:], rules_of(problem.question)).is_correct


def test_the_public_countdown_rows_pass_the_checker() -> None:
    here = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("SPRINT_REFERENCE_DATA", here.parent / "shared" / "data"))
    path = data / "benchmarks" / "countdown.jsonl"
    if not path.exists():
        pytest.skip(f"no reference data: {path} is absent (set SPRINT_REFERENCE_DATA to the folder that holds it)")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    task = get_task("countdown")
    for row in rows:
        rules = rules_of(row["problem"])
        assert (list(rules.numbers), rules.target, rules.use_all) == (row["numbers"], row["target"], True)
        assert task.grade_text(row["problem"], row["answer"], boxed(row["answer"])) is Grade.CORRECT
        assert not task.grade_text(row["problem"], row["answer"], boxed(str(row["target"]))).is_correct
