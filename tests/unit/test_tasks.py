"""Laws of the tasks: the teacher is right, the grader is strict, the splits never meet, the seed decides."""

from __future__ import annotations

import json
import random
import re
from itertools import islice
from typing import Any

import pytest

from sprint.answers import boxed
from sprint.errors import InputError
from sprint.tasks import Grade, Split, Task, eval_rows, get_task, majority_answer, split_of, task_names
from sprint.tasks.chains import running_values

OPTIONS: list[tuple[str, dict[str, int]]] = [
    ("chains", {}),
    ("chains", {"num_chains": 2, "num_operands": 2, "top": 99}),
    ("chains", {"num_chains": 7, "num_operands": 4, "top": 9}),
    ("countdown", {}),
    ("countdown", {"max_branches": 3}),
    ("countdown", {"num_numbers": 4, "max_number": 20, "max_target": 60}),
    ("countdown", {"num_numbers": 5, "max_number": 99, "max_target": 999, "max_branches": 4}),
    ("countdown", {"num_numbers": 6, "max_number": 12, "max_target": 99}),
]
GARBAGE = [
    "",
    "{",
    "}",
    "((((",
    "8+",
    "8**3",
    "__import__('os')",
    "\\frac{8}",
    "8" * 5000,
    "(" * 300,
    "\x00",
    "8^3",
    "A",
]


@pytest.fixture(params=OPTIONS, ids=str)
def task(request: pytest.FixtureRequest) -> Task:
    name, options = request.param
    return get_task(name, **options)


def test_the_teacher_is_always_right(task: Task) -> None:
    for problem in islice(task.problems(Split.TRAIN, 1), 25):
        trace = task.teach(problem, seed=2)
        assert task.grade(problem, trace.response) is Grade.CORRECT
        assert task.grade_text(trace.question, trace.answer, trace.response).is_correct
        assert task.grade(problem, boxed(problem.answer)).is_correct
        assert (trace.id, trace.question, trace.closed) == (problem.id, task.pose(problem), True)


def test_the_seed_decides(task: Task) -> None:
    problem = task.generate(5, Split.TEST)
    assert problem == task.generate(5, Split.TEST)
    assert task.teach(problem, 1) == task.teach(problem, 1)
    assert list(islice(task.problems(Split.TRAIN, 3), 5)) == list(islice(task.problems(Split.TRAIN, 3), 5))
    assert len({task.generate(seed, Split.TRAIN).id for seed in range(20)}) > 10


def test_train_and_test_never_meet_and_problems_are_distinct(task: Task) -> None:
    train, test = ([p.id for p in islice(task.problems(split), 40)] for split in (Split.TRAIN, Split.TEST))
    assert len(set(train)) == len(set(test)) == 40
    assert not set(train) & set(test)


def test_problems_are_plain_values(task: Task) -> None:
    problem = task.generate(0, Split.TRAIN)
    assert json.loads(json.dumps(problem.as_dict())) == problem.as_dict()
    assert hash(problem) == hash(task.generate(0, Split.TRAIN))
    row = eval_rows(task, 1, Split.TRAIN)[0]
    assert set(row) == {"id", "question", "answer"}
    assert all(isinstance(value, str) for value in row.values())


def test_the_same_problem_in_another_order_is_the_same_problem(task: Task) -> None:
    for problem in islice(task.problems(Split.TEST), 5):
        data: dict[str, Any] = {
            name: value[::-1] if isinstance(value, list) else value for name, value in problem.data.items()
        }
        assert task.key(data) == task.key(problem.data)
        assert split_of(task.key(data)) is Split.TEST


def test_garbage_is_graded_and_never_raises(task: Task) -> None:
    problem = task.generate(0, Split.TRAIN)
    for text in GARBAGE:
        assert not task.grade(problem, text).is_correct
        assert not task.grade(problem, boxed(text)).is_correct
        assert not task.grade_answer(problem.question, problem.answer, text).is_correct
    assert task.grade(problem, "the answer is 5") is Grade.NO_ANSWER
    assert task.grade(problem, "\\boxed{}") is Grade.NO_ANSWER


def test_every_line_of_a_trace_is_one_short_sentence(task: Task) -> None:
    for problem in islice(task.problems(Split.TRAIN), 5):
        reasoning = task.teach(problem).reasoning
        assert reasoning == reasoning.strip()
        for line in reasoning.split("\n"):
            assert line.endswith(".")
            assert line.count(".") == 1
            assert len(line) < 80
            assert line.count("=") <= 1


# --- chains ----------------------------------------------------------------------------------------------------------


def test_the_wording_of_chains() -> None:
    task = get_task("chains", num_chains=3, num_operands=3)
    data = {"chains": ["4+5-7", "20+1-9", "2+9+1"]}
    assert task.question(data) == "Which chain is largest?\nA: 4+5-7\nB: 20+1-9\nC: 2+9+1"
    reasoning, answer = task.reason(data, random.Random(0))
    assert reasoning == (
        "Let me work out A.\nA: 4+5-7.\n4+5=9.\n9-7=2.\nSo A=2.\n"
        "Let me work out B.\nB: 20+1-9.\n20+1=21.\n21-9=12.\nSo B=12.\n"
        "Let me work out C.\nC: 2+9+1.\n2+9=11.\n11+1=12.\nSo C=12.\n"
        "Now compare A with B.\nA=2.\nB=12.\n2<12.\nSo B=12 wins.\n"
        "Now compare B with C.\nB=12.\nC=12.\n12=12.\nSo B=12 wins."
    )
    assert task.respond(answer) == "The largest value is \\boxed{12}."


def test_running_values_stay_within_bounds() -> None:
    for top in (3, 9, 24, 99):
        task = get_task("chains", top=top)
        for problem in islice(task.problems(Split.TRAIN), 20):
            values = [value for chain in problem.data["chains"] for value in running_values(chain)]
            assert min(values) >= 0
            assert max(values) <= top
            assert len(values) == 30


def test_every_number_in_a_chains_trace_follows_from_its_line() -> None:
    for problem in islice(get_task("chains").problems(Split.TEST), 20):
        reasoning = get_task("chains").teach(problem).reasoning
        for left, sign, right, result in re.findall(r"^(\d+)([+-])(\d+)=(\d+)\.$", reasoning, re.MULTILINE):
            assert int(left) + int(sign + right) == int(result)


@pytest.mark.parametrize("text", ["23", "$23$", " 23. ", "\\text{23}"])
def test_a_chains_answer_may_be_dressed(text: str) -> None:
    assert get_task("chains").grade_text("Which chain is largest?", "23", boxed(text)) is Grade.CORRECT


@pytest.mark.parametrize("text", ["24", "-23", "2.3", "23, 24", "A=23", "twenty-three", "23+0"])
def test_another_chains_answer_is_wrong(text: str) -> None:
    assert not get_task("chains").grade_text("Which chain is largest?", "23", boxed(text)).is_correct


# --- options, splits, majority ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("sudoku", {}, "unknown task 'sudoku', expected one of: chains, countdown"),
        ("chains", {"depth": 3}, "task 'chains' has no option 'depth', expected one of: num_chains, num_operands, top"),
        ("chains", {"num_chains": 9}, "task option 'num_chains' is 9, expected a whole number from 2 to 8"),
        ("chains", {"top": True}, "task option 'top' is True, expected a whole number from 1 to 99"),
        ("countdown", {"num_numbers": "4"}, "task option 'num_numbers' is '4', expected a whole number from 3 to 6"),
        ("countdown", {"max_target": 5}, "task option 'max_target' is 5, expected a whole number from 10 to 999"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        get_task(name, **options)
    assert str(raised.value) == sentence


def test_a_task_that_runs_out_of_problems_says_so() -> None:
    with pytest.raises(InputError, match=r"has only [0-9]+ test problems"):
        list(get_task("countdown", max_number=3, max_target=10).problems(Split.TEST))


def test_the_most_frequent_answer() -> None:
    assert majority_answer(["3", "1", "3", "2"]) == "3"
    assert majority_answer(["2", "1"]) == "1"
    with pytest.raises(InputError, match="no answers"):
        majority_answer([])
    assert task_names() == ("chains", "countdown")
