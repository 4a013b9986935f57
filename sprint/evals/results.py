"""One JSON line per sample: how a result is written and read back. It knows no endpoint, grader or page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sprint.errors import InputError
from sprint.files import read_jsonl
from sprint.tasks import Grade
from sprint.usage import Usage

FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one sample.

    grade         None where the call failed: such a sample counts as wrong, and as not measured
    wall_s        the client's clock; 0 where the call failed
    concurrency   requests in flight while it was measured
    guess         what the majority guess would have been graded, where there is one
    error         one sentence about a failed call
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
            values = dict(row)
            usage = values.pop("usage")
            return Result(
                **values
                | {"usage": Usage.from_dict(usage) if usage else None, "timeline": tuple(values.get("timeline", ()))}
                | {key: Grade(values[key]) if values.get(key) else None for key in ("grade", "guess")}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} is not an evaluation result: {error}") from None


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
