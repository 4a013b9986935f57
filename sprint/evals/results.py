"""One JSON line per sample: how a result is written and read back. It knows no endpoint, grader or page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from sprint.errors import InputError
from sprint.files import read_jsonl
from sprint.rows import writable
from sprint.tasks import Grade
from sprint.usage import Usage

FAILED = "failed"

_TEXTS = (
    "id",
    "question",
    "gold",
    "task",
    "label",
    "model",
    "method",
    "answer",
    "found",
    "reasoning",
    "stop_reason",
    "error",
)
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((*_TEXTS, "level", "subject", "grader"), (str,)),
    **dict.fromkeys(("grade", "guess"), (str, type(None))),
    **dict.fromkeys(("temperature", "wall_s"), (int, float)),
    **dict.fromkeys(("seed", "concurrency", "sample"), (int,)),
    **dict.fromkeys(("other_grades", "sampling"), (dict,)),
    **dict.fromkeys(("timeline", "calls"), (list, tuple)),
    "sampling_seed": (int, type(None)),
    "usage": (dict, type(None)),
}
_SPAN_NUMBERS = ("round", "number", "start_s", "end_s", "generated_tokens")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one sample.

    grade         None where the call failed: such a sample counts as wrong, and as not measured
    wall_s        the client's clock; 0 where the call failed
    concurrency   requests in flight while it was measured
    guess         what the majority guess would have been graded, where there is one
    error         one sentence about a failed call
    sample        which of several samples of the same problem this is, from 1
    level, subject    of the problem, as its benchmark has them; "" where it has none
    grader        the name of who gave `grade` ("" in files of before graders had names)
    other_grades  what other named graders say of the same answer: name -> right (kept for a human look; no number of
                  ours uses them but the table of graders)
    seed, sampling_seed   the run's own, which also poses a generated task's problems; what this answer was sampled with
    sampling      how: method, instruction, top_p, limits and what else its run was told
    found         the bare answer that was graded, as it stands in `answer`; "" where there was none
    calls         of a method with several calls: what each was for, its seed, tokens, clock and boxed answer
    """

    id: str
    question: str
    gold: str
    task: str
    label: str
    model: str
    method: str = ""
    temperature: float = 0.0
    seed: int = 0
    concurrency: int = 1
    grade: Grade | None = None
    answer: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    wall_s: float = 0.0
    stop_reason: str = FAILED
    guess: Grade | None = None
    timeline: tuple[Mapping[str, Any], ...] = field(default=())
    error: str = ""
    sample: int = 1
    level: str = ""
    subject: str = ""
    grader: str = ""
    other_grades: Mapping[str, bool] = field(default_factory=dict)
    sampling_seed: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[Mapping[str, Any], ...] = field(default=())
    found: str = ""

    @property
    def is_correct(self) -> bool:
        return self.grade is Grade.CORRECT

    @property
    def setup(self) -> tuple[object, ...]:
        """What all results of one run share."""
        return (self.task, self.label, self.model, self.temperature, self.seed)

    def as_row(self) -> dict[str, Any]:
        """The JSON line."""
        return asdict(self)

    @staticmethod
    def from_row(row: Mapping[str, Any], where: str) -> Result:
        """A result read back. Raises InputError naming the place when the row is not one."""
        try:
            values = {key: _checked(key, value) for key, value in row.items()}
            usage = values.pop("usage")
            return Result(
                **values
                | {"usage": Usage.from_dict(usage) if usage is not None else None}
                | {"timeline": read_timeline(values.get("timeline", ())), "calls": tuple(values.get("calls", ()))}
                | {key: Grade(values[key]) if values.get(key) else None for key in ("grade", "guess")}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} is not an evaluation result: {error}") from None


def by_problem(results: Iterable[Result]) -> dict[str, list[Result]]:
    """The samples of each problem, in the order of the results."""
    problems: dict[str, list[Result]] = {}
    for result in results:
        problems.setdefault(result.id, []).append(result)
    return problems


def read_results(path: Path) -> list[Result]:
    """The results of one run. Raises InputError when the file is missing, empty or of something else."""
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected the JSON lines that `sprint evaluate` writes")
    results = [Result.from_row(row, f"{path} row {number}") for number, row in enumerate(read_jsonl(path), 1)]
    if not results:
        raise InputError(f"{path} holds no results, expected one JSON line per problem")
    if len({result.setup for result in results}) > 1:
        raise InputError(f"{path} mixes several runs, expected one task, label, model, temperature and seed")
    return results


def read_timeline(spans: Any) -> tuple[Mapping[str, Any], ...]:
    """The spans of a timeline. Raises TypeError or ValueError where one is not a kind, numbers and clocks."""
    for span in spans:
        numbers = [span.get(name, 0) for name in _SPAN_NUMBERS] if isinstance(span, dict) else [None]
        if not all(map(_is_number, numbers)) or not {"kind", *_SPAN_NUMBERS} <= span.keys():
            raise ValueError(f"a timeline holds {str(span)[:80]!r}, expected spans with kind, number and clocks")
    return tuple(spans)


def _checked(key: str, value: Any) -> Any:
    """The value of a row's entry. Raises TypeError where it is of another kind; an unknown key is the caller's."""
    kinds = _KINDS.get(key)
    if kinds is None:
        return value
    if not isinstance(value, kinds) or isinstance(value, bool) or (float in kinds and not _is_number(value)):
        raise TypeError(f"{key!r} is {str(value)[:40]!r}, expected {kinds[0].__name__}")
    if isinstance(value, dict) and key == "other_grades" and not all(isinstance(said, bool) for said in value.values()):
        raise TypeError("'other_grades' holds something else than true and false")
    return writable(value) if isinstance(value, str) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
