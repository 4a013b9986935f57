"""What every task is: seeded problems in two disjoint splits, a teacher, and a grader that needs only text.

It knows the laws tasks share (splits by the problem itself, distinct problems, checked options). It knows no particular
task, no model and no file.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar

from sprint.answers import last_boxed
from sprint.errors import InputError
from sprint.types import Trace

TEST_SHARE = 10  # one problem in ten is a test problem
_MAX_MISSES = 10_000  # draws in a row without a new problem after which a task counts as used up


class Split(StrEnum):
    """Which of the two disjoint halves of a task's problems."""

    TRAIN = "train"
    TEST = "test"


class Grade(StrEnum):
    """What a grader found."""

    CORRECT = "correct"
    WRONG_VALUE = "wrong_value"  # well formed, but not the answer
    NUMBER_NOT_GIVEN = "number_not_given"
    NUMBER_REUSED = "number_reused"
    NUMBER_UNUSED = "number_unused"  # only where the question asks for all numbers
    DIVISION_BY_ZERO = "division_by_zero"
    NOT_AN_EXPRESSION = "not_an_expression"  # an answer that is not of the kind asked for
    NO_ANSWER = "no_answer"  # nothing boxed
    UNDECIDED = "undecided"  # too long, too deep or too slow to compare; counts as wrong

    @property
    def is_correct(self) -> bool:
        return self is Grade.CORRECT


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `answer` is a gold answer as text; `data` the task's own plain values (JSON-serialisable)."""

    id: str
    question: str
    answer: str
    data: Mapping[str, Any] = field(hash=False)

    def as_dict(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        return {"id": self.id, "question": self.question, "answer": self.answer, "data": dict(self.data)}


class Task(ABC):
    """A source of problems. A task gives the abstract methods; seeds, splits and grading of whole texts stand here."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, rng: random.Random) -> Mapping[str, Any]:
        """The data of some problem of this task, from either split."""

    @abstractmethod
    def key(self, data: Mapping[str, Any]) -> str:
        """The canonical spelling of a problem: equal for two problems exactly when they are the same problem."""

    @abstractmethod
    def question(self, data: Mapping[str, Any]) -> str:
        """The question, as a user would ask it."""

    @abstractmethod
    def answer(self, data: Mapping[str, Any]) -> str:
        """A gold answer."""

    @abstractmethod
    def reason(self, data: Mapping[str, Any], rng: random.Random) -> tuple[str, str]:
        """A correct sequential reasoning and the answer it ends with."""

    @abstractmethod
    def respond(self, answer: str) -> str:
        """The sentence with the boxed answer."""

    @abstractmethod
    def grade_answer(self, question: str, gold: str, answer: str) -> Grade:
        """The grade of a bare answer. Never raises on any `answer`; InputError when `question` is not of this task."""

    def generate(self, seed: int, split: Split) -> Problem:
        """The problem of `split` with this seed."""
        return next(self.problems(split, seed))

    def problems(self, split: Split, seed: int = 0) -> Iterator[Problem]:
        """Distinct problems of `split`, the same ones for the same seed. Raises InputError when there are no more."""
        rng = random.Random(f"{self.name} {split} {seed}")
        seen: set[str] = set()
        misses = 0
        while misses < _MAX_MISSES:
            data = self.draw(rng)
            key = self.key(data)
            if key in seen or split_of(key) is not split:
                misses += 1
                continue
            misses = 0
            seen.add(key)
            yield Problem(f"{self.name}-{_digest(key)[:12]}", self.question(data), self.answer(data), data)
        raise InputError(f"task {self.name!r} has only {len(seen)} {split} problems with these options; ask for fewer")

    def pose(self, problem: Problem) -> str:
        """The question text."""
        return problem.question

    def teach(self, problem: Problem, seed: int = 0) -> Trace:
        """A correct, sequential, R1-style trace. Nothing in it marks what could run in parallel."""
        reasoning, answer = self.reason(problem.data, random.Random(f"teach {problem.id} {seed}"))
        return Trace(problem.id, problem.question, reasoning, problem.answer, self.respond(answer))

    def grade(self, problem: Problem, text: str) -> Grade:
        """The grade of a model's whole text on `problem`."""
        return self.grade_text(problem.question, problem.answer, text)

    def grade_text(self, question: str, gold: str, text: str) -> Grade:
        """The grade of the last boxed answer in `text`, from a data row alone: no Problem is needed."""
        answer = last_boxed(text)
        return self.grade_answer(question, gold, answer) if answer else Grade.NO_ANSWER


def split_of(key: str) -> Split:
    """The split of a problem, by a hash of the problem itself: wording, order and seed play no part."""
    return Split.TEST if int(_digest(key), 16) % TEST_SHARE == 0 else Split.TRAIN


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def eval_rows(task: Task, count: int, split: Split = Split.TEST, seed: int = 0) -> list[dict[str, str]]:
    """`count` distinct problems as evaluation rows {id, question, answer}."""
    chosen = islice(task.problems(split, seed), count)
    return [{"id": problem.id, "question": task.pose(problem), "answer": problem.answer} for problem in chosen]


def majority_answer(answers: Iterable[str]) -> str:
    """The most frequent answer (the smallest of those tied): what a guesser would say who saw only the answers."""
    counts = Counter(answers)
    if not counts:
        raise InputError("there are no answers to find the most frequent of")
    return min(counts, key=lambda answer: (-counts[answer], answer))


# --- options ---------------------------------------------------------------------------------------------------------


def bounded(default: int, low: int, high: int) -> Any:
    """A dataclass field for a whole number in `low`..`high`, both included."""
    return field(default=default, metadata={"low": low, "high": high})


class Options:
    """Base of the tasks' frozen option dataclasses: every field is a `bounded` whole number, checked at birth."""

    def __post_init__(self) -> None:
        for option in fields(self):  # type: ignore[arg-type]
            value = getattr(self, option.name)
            low, high = option.metadata["low"], option.metadata["high"]
            if type(value) is not int or not low <= value <= high:
                message = f"task option {option.name!r} is {value!r}, expected a whole number from {low} to {high}"
                raise InputError(message, field=option.name)
