"""Where an evaluation's questions come from, and how their answers are graded.

A generated task brings its own exact grader; a benchmark, or a file of questions, compares with gold answers; a judge
may have a second look. It knows no endpoint of the model under test and no counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from sprint.answers import boxed, last_boxed, stated_answer
from sprint.benchmarks import Benchmark, Columns, Sample, Score, get_benchmark, load
from sprint.errors import InputError
from sprint.evals.config import EvalConfig
from sprint.tasks import eval_rows, get_task, majority_answer

__all__ = ["Sample", "Score", "Scorer", "commonest_answer", "finder", "samples", "scorer", "source_name"]


class Scorer(Protocol):
    """Grades a whole text. Comparing two formulas, or asking a judge, can take seconds."""

    def __call__(self, sample: Sample, text: str) -> Score: ...


def source_name(config: EvalConfig) -> str:
    """What a result's `task` says: the generated task, the benchmark, or the file."""
    return config.task or config.benchmark or str(config.data)


def samples(config: EvalConfig) -> list[Sample]:
    """The problems of an evaluation. Raises InputError when there are none, or a row is not a problem."""
    if config.task:
        task = get_task(config.task, **config.task_options)
        return [
            Sample(row["id"], row["question"], row["answer"]) for row in eval_rows(task, config.n, seed=config.seed)
        ]
    return load(_benchmark(config), config.data, config.n, config.seed)


def scorer(config: EvalConfig, *, judged: bool = True) -> Scorer:
    """How the answers of this evaluation are graded; not `judged`: without the judge, should there be one."""
    stated = config.grader == "box-or-statement"
    grade = _task_scorer(config) if config.task else partial(_benchmark(config).score, stated=stated)
    if not (judged and config.judge.base_url):
        return grade
    from sprint.evals.judge import Judge

    judge = Judge(config.judge)
    return lambda sample, text: judge.reconsider(sample, text, grade(sample, text))


def finder(config: EvalConfig) -> Callable[[str], str | None]:
    """How the bare answer of a text is found: what votes are counted by."""
    find = last_boxed if config.task else _benchmark(config).find
    return find if config.grader == "box" else lambda text: find(text) or stated_answer(text)


def _benchmark(config: EvalConfig) -> Benchmark:
    return get_benchmark(config.benchmark) if config.benchmark else Columns(config.columns)


def _task_scorer(config: EvalConfig) -> Scorer:
    task = get_task(config.task, **config.task_options)

    def score(sample: Sample, text: str) -> Score:
        return Score(task.grade_text(sample.question, sample.answer, text), task.name, last_boxed(text) or "")

    return score


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
