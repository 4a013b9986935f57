"""What is served: the model's name and method. It knows nothing of how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serve_app.api.failures import UnknownModel
from sprint.card import Method
from sprint.errors import InputError


@dataclass(frozen=True, slots=True)
class Served:
    """The model behind the door."""

    name: str
    method: Method
    created: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As `/v1/models` lists it."""
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "sprint"}

    def check(self, name: str) -> None:
        """Raises UnknownModel for any other name."""
        if name != self.name:
            raise UnknownModel(f"the model {name!r} is not served here, expected {self.name!r}", field="model")


def check_choices(number: int, most: int) -> None:
    """Raises InputError for a request for more answers than one request may have."""
    if number > most:
        raise InputError(f"{number} answers are asked for, expected at most {most} for one request", field="n")
