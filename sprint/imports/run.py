"""`sprint import`: a file of outputs written elsewhere becomes a run like any other, graded and counted.

No row is lost: an output that does not follow its format is counted as written from end to end, and says so. Calls and
clocks are not known and stay 0. It knows the formats by name and a result's fields, no endpoint and no report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sprint.answers import boxed, last_boxed, stated_answer
from sprint.benchmarks import BOX_OR_STATEMENT, Benchmark, Columns, Sample, get_benchmark
from sprint.benchmarks.source import read_rows
from sprint.errors import ConfigError, InputError
from sprint.evals.results import Result
from sprint.files import write_jsonl
from sprint.imports.config import ImportConfig
from sprint.imports.forks import read_forks
from sprint.imports.rounds import read_rounds
from sprint.imports.written import MalformedOutput, Written, sequential
from sprint.published import Encode
from sprint.tokenizer import load_tokenizer

IMPORTED, MALFORMED = "imported", "malformed"
_TEXTS = ("text", "output", "reasoning")
_WITHOUT_BOX = ("parallel", "multiverse", "threadweaver")  # forms whose prompts ask for no box

FORMATS: Mapping[str, Callable[[str, Encode], Written]] = {
    "sprint": read_rounds,
    "sequential": lambda text, encode: Written(sequential(len(encode(text))), text),
    "parallel": lambda text, encode: read_forks(text, lambda part: len(encode(part)), "Path"),
    "multiverse": lambda text, encode: read_forks(text, lambda part: len(encode(part)), "Path"),
    "threadweaver": lambda text, encode: read_forks(text, lambda part: len(encode(part)), "Thread"),
}


def import_run(config: ImportConfig) -> list[Result]:
    """Read, grade, count and write every output; the results, in the file's order.

    Raises InputError for a bad file or row, and ConfigError for an unknown format or an out file that exists.
    """
    if config.format not in FORMATS:
        raise ConfigError(f"unknown format {config.format!r}, expected one of: {', '.join(FORMATS)}", field="format")
    if config.out.exists():
        raise ConfigError(f"{config.out} already exists: choose another --out", field="out")
    results = list(_results(config))
    if not results:
        raise InputError(f"{config.file} holds no rows, expected one for each output", field="file")
    write_jsonl(config.out, (result.as_row() for result in results))
    print(_sentence(config, results))
    return results


def _sentence(config: ImportConfig, results: list[Result]) -> str:
    right = sum(result.is_correct for result in results)
    broken = sum(result.stop_reason == MALFORMED for result in results)
    tail = f"; {broken} not of the format, counted as sequential" if broken else ""
    return f"{config.out}: {len(results)} outputs of {config.format}, {right} right{tail}"


def _results(config: ImportConfig) -> Iterator[Result]:
    encode = load_tokenizer(config.tokenizer).encode
    benchmark = _benchmark(config)
    seen: Counter[str] = Counter()
    for number, row in enumerate(read_rows(config.file), 1):
        where = f"{config.file} row {number}"
        sample = benchmark.sample(row, where, 0)
        if sample is not None:
            id = sample.id.removeprefix(config.id_prefix)
            seen[id] += 1
            yield _result(config, benchmark, sample, _text(config, row, where), encode, id, seen[id])


def _benchmark(config: ImportConfig) -> Benchmark:
    return get_benchmark(config.benchmark) if config.benchmark else Columns(_without_text(config.columns))


def _without_text(columns: Mapping[str, str]) -> dict[str, str]:
    return {key: name for key, name in columns.items() if key != "text"}


def _text(config: ImportConfig, row: Mapping[str, Any], where: str) -> str:
    """The whole output: where a thought and a response are kept apart, both."""
    names = (config.columns["text"],) if "text" in config.columns else _TEXTS
    name = next((name for name in names if isinstance(row.get(name), str) and row[name]), None)
    if name is None:
        raise InputError(f"{where}: none of {', '.join(names)} is a text, expected the output", field="columns")
    response = row.get("response")
    tail = f"\n{response}" if name == "reasoning" and isinstance(response, str) and response.strip() else ""
    return str(row[name]) + tail


def _result(
    config: ImportConfig, benchmark: Benchmark, sample: Sample, text: str, encode: Encode, id: str, number: int
) -> Result:
    written, stop, error = _read(config.format, text, encode)
    box, stated = last_boxed(text), stated_answer(written.final)
    found = box or (stated if config.format in _WITHOUT_BOX else None)
    answer = boxed(found) if found else ""
    score = benchmark.score(sample, answer)
    # Accuracy should not hang on who forgot a box: what a lenient reader would say stands beside the grade.
    lenient = score if found or not stated else benchmark.score(sample, boxed(stated))
    return Result(
        id=id,
        question=sample.question,
        gold=sample.answer,
        task=config.task,
        label=config.label or config.format,
        model=config.model,
        method=config.format,
        temperature=config.temperature,
        grade=score.grade,
        grader=score.grader,
        other_grades={**score.other_grades, BOX_OR_STATEMENT: lenient.grade.is_correct},
        answer=answer,
        found=found or "",
        reasoning=text,
        usage=written.usage,
        stop_reason=stop,
        error=error,
        sample=number,
        level=sample.level,
        subject=sample.subject,
    )


def _read(name: str, text: str, encode: Encode) -> tuple[Written, str, str]:
    """An output as its format reads it, or else as a sequential text, with the reason."""
    try:
        return FORMATS[name](text, encode), IMPORTED, ""
    except MalformedOutput as error:
        return Written(sequential(len(encode(text))), text), MALFORMED, f"not of the form {name}: {error}"
