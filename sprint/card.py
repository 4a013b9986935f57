"""The model card `sprint.json` beside a model's weights: how this model was taught, and so how it must be asked.

It travels with the model so that serving asks exactly as training taught. It knows nothing of weights or engines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from sprint.errors import InputError
from sprint.files import read_json, write_json

CARD_FILE = "sprint.json"


class Method(StrEnum):
    """How a model reasons."""

    SPRINT = "sprint"  # rounds of a plan and parallel executions
    RFT = "rft"  # one sequential chain of thought (the paper's baseline)


class Instruction(StrEnum):
    """Which text of `sprint/prompts/` stands before the question."""

    SPRINT = "sprint"
    SEQUENTIAL = "sequential"
    NONE = "none"  # the bare question: for small models trained on one task


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`task` names the task the model was trained on, for information only."""

    method: Method = Method.RFT
    instruction: Instruction = Instruction.SEQUENTIAL
    task: str = ""

    def save(self, folder: Path) -> None:
        write_json(folder / CARD_FILE, asdict(self))

    @staticmethod
    def load(folder: Path) -> ModelCard:
        """The card of a model folder; without one, a sequential model. Raises InputError when the card is wrong."""
        path = folder / CARD_FILE
        if not path.exists():
            return ModelCard()
        values = read_json(path)
        unknown = set(values) - {"method", "instruction", "task"}
        if unknown:
            raise InputError(f"{path}: unknown key {sorted(unknown)[0]!r}, expected method, instruction and task")
        try:
            return ModelCard(
                Method(values.get("method", Method.RFT)),
                Instruction(values.get("instruction", Instruction.NONE)),
                str(values.get("task", "")),
            )
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
