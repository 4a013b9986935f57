"""Samples and their scorer: where the questions come from, and whether an answer is right.

A generated task brings its own exact grader; a file of questions is compared with its gold answers. It knows no
endpoint and no counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from sprint.answers import boxed, last_boxed, same_answer
from sprint.errors import InputError
from sprint.evals.config import EvalConfig
from sprint.files import read_jsonl
from sprint.tasks import Grade, eval_rows, get_task, majority_answer


@dataclass(frozen=True, slots=True)
class Sample:
    """One question with its gold answer."""

    id: str
    question: str
    answer: str


class Scorer(Protocol):
    """Grades a text that holds a boxed answer."""

    def __call__(self, sample: Sample, text: str) -> Grade: ...


def samples(config: EvalConfig) -> list[Sample]:
    """The problems of an evaluation. Raises InputError when there are none, or a row is not a problem."""
    if config.data:
        return _from_file(config.data, config.n)
    task = get_task(config.task, **config.task_options)
    return [Sample(row["id"], row["question"], row["answer"]) for row in eval_rows(task, config.n, seed=config.seed)]


def scorer(config: EvalConfig) -> Scorer:
    """How the answers of this evaluation are graded."""
    if config.data:
        return _compare
    task = get_task(config.task, **config.task_options)
    return lambda sample, text: task.grade_text(sample.question, sample.answer, text)


def _compare(sample: Sample, text: str) -> Grade:
    answer = last_boxed(text)
    if not answer:
        return Grade.NO_ANSWER
    return Grade.CORRECT if same_answer(sample.answer, answer) else Grade.WRONG_VALUE


def commonest_answer(folder: Path) -> str:
    """The most frequent gold answer of a curated training set, boxed: the guess of one who saw only the answers.

    Raises InputError when the folder or file is missing or has no `answer` column.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    if not folder.exists():
        raise InputError(f"{folder} does not exist, expected curated Parquet", field="train_answers")
    try:
        answers = read_table(folder, columns=["answer"]).column("answer").to_pylist()
    except (ArrowException, OSError, KeyError) as error:
        raise InputError(f"{folder} is not Parquet with a column 'answer': {error}", field="train_answers") from error
    return boxed(majority_answer(str(answer) for answer in answers if answer is not None))


def _from_file(path: Path, n: int) -> list[Sample]:
    rows = [_sample(row, f"{path} row {number}") for number, row in enumerate(islice(read_jsonl(path), n), 1)]
    if not rows:
        raise InputError(f"{path} holds no rows, expected lines with id, question and answer")
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise InputError(f"{path}: the id {row.id!r} appears twice, expected each once")
        seen.add(row.id)
    return rows


def _sample(row: Mapping[str, Any], where: str) -> Sample:
    question = row.get("question", row.get("problem"))
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"{where}: 'question' is {question!r}, expected a text")
    for key in ("id", "answer"):
        if not isinstance(row.get(key), str | int | float):
            raise InputError(f"{where}: {key!r} is {row.get(key)!r}, expected a text")
    return Sample(str(row["id"]), question, str(row["answer"]))
