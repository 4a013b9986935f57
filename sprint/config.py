"""Configuration: strict models, YAML files, one clear sentence for every mistake.

Each room owns its config model; this file only says how a model is read. It imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from sprint import nodes
from sprint.errors import ConfigError

Nodes = Annotated[dict[str, str], AfterValidator(nodes.checked)]  # the option `nodes`, the same in every room


class StrictModel(BaseModel):
    """A config section: unknown keys are errors, values are not coerced from other types, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=BaseModel)


def load_config(model: type[Model], path: Path | None, overrides: Mapping[str, Any] | None = None) -> Model:
    """`model` from a YAML file, with the options given on the command line on top (None: not given).

    Raises ConfigError naming the file, the key, what was found and what was expected.
    """
    values = _read_yaml(path) if path else {}
    for key, value in (overrides or {}).items():
        if value is not None:
            values[key] = _merged(values.get(key), value)
    return validate(model, values, str(path) if path else "options")


def _merged(below: Any, above: Any) -> Any:
    """Entries of a section given on the command line stand above those of the file; the others stay."""
    return below | above if isinstance(below, dict) and isinstance(above, dict) else above


def validate(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """`values` as `model`. Raises ConfigError with one sentence about the first mistake."""
    try:
        return model.model_validate(dict(values), strict=False)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_mistake(error, model)}", field=_field(error)) from None


def _mistake(error: ValidationError) -> Any:
    """The first mistake; an unknown key first of all, since what is missing may be what it was meant to be."""
    mistakes = error.errors()
    return next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])


def _field(error: ValidationError) -> str:
    return ".".join(str(part) for part in _mistake(error)["loc"])


def _first_mistake(error: ValidationError, model: type[BaseModel]) -> str:
    mistake = _mistake(error)
    field = _field(error)
    if mistake["type"] == "extra_forbidden":
        known = ", ".join(sorted(_section(model, mistake["loc"][:-1]).model_fields))
        return f"unknown key {field!r}, expected one of: {known}"
    if mistake["type"] == "missing":
        return f"{field!r} is missing"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{field!r} is {mistake['input']!r}: {message}" if field else message


def _section(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the section at a path of keys."""
    for key in path:
        kinds = [model.model_fields[str(key)].annotation] if str(key) in model.model_fields else []
        parts = [part for kind in kinds for part in (get_args(kind) or (kind,))]
        model = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), model)
    return model


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected keys and values")
    return values
