"""Turns config models into commands: one option per field, one sentence per mistake.

So the command line, the YAML file and the Python call say the same things in the same words. Options are read as text
and checked by the model alone. A mistake is one line on standard error and exit code 2; an interruption is exit code
130. It knows pydantic fields and typer parameters, and no particular command.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sprint.config import load_config
from sprint.errors import ConfigError, SprintError
from sprint.printable import printable

EXIT_MISTAKE, EXIT_INTERRUPTED = 2, 130
_LISTS = (list, tuple)
_DOCUMENTED = re.compile(r"^ *(\w+(?:, \w+)*)  +(\S.*)$")


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is told, what it calls, and which fields are given by position.

    passes_on   what follows the first word given by position is not read: it is another command's
    """

    about: str
    config: Callable[[], type[BaseModel]]
    run: Callable[[Any], object]
    arguments: Mapping[str, str] = field(default_factory=dict)
    passes_on: bool = False


def execute(program: str, about: str, commands: Mapping[str, Command], given: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    words = list(given) or ["--help"]
    # A command may have a name of two words; to the parser it is one.
    if " ".join(words[:2]) in commands:
        words = [" ".join(words[:2]), *words[2:]]
    # Only the subcommand asked for is built: its room's config is all that has to be read.
    asked = words[:1] if words[0] in commands else []
    app = application(about, {name: commands[name] for name in asked or commands})
    try:
        code = app(words, prog_name=program, standalone_mode=False)
    except SprintError as error:
        return _mistake(str(error))
    except Exit as end:
        code = end.exit_code
    except (KeyboardInterrupt, Abort):
        code = EXIT_INTERRUPTED
    except TyperException as error:
        hint = " ".join([program, *asked, "--help"])
        return _mistake(f"{error.format_message().strip().rstrip('.')} (see {hint})")
    if code == EXIT_INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return code if type(code) is int else 0


def _mistake(sentence: str) -> int:
    print(f"error: {printable(sentence)}", file=sys.stderr)  # it may quote data
    return EXIT_MISTAKE


def application(about: str, commands: Mapping[str, Command]) -> Any:
    """The typer application with these subcommands."""
    import typer

    app = typer.Typer(help=about, add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    for name, known in commands.items():
        settings = {"allow_interspersed_args": not known.passes_on}
        app.command(name, context_settings=settings)(
            command_of(known.config(), known.run, known.about, known.arguments)
        )
    return app


def command_of(
    model: type[BaseModel],
    run: Callable[[Any], object],
    about: str,
    arguments: Mapping[str, str],
    load: Callable[[type[BaseModel], Path | None, Mapping[str, Any]], object] = load_config,
) -> Callable[..., None]:
    """A function for typer whose parameters are the model's fields, and `config` for a YAML file.

    `arguments` are the fields given by position, with what the help calls them.
    """

    def command(**given: Any) -> None:
        path = given.pop("config")
        run(load(model, Path(path) if path else None, read_options(model, given)))

    parameters = [_config_option(), *(_parameter(model, name, arguments) for name in _ordered(model, arguments))]
    command.__doc__ = about
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def read_options(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as values for the model: absent options left out, KEY=VALUE pairs made into mappings."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == []:
            continue
        values[name] = _pairs(name, value) if _takes_pairs(model.model_fields[name]) else value
    return values


def _takes_pairs(field: FieldInfo) -> bool:
    """Whether a field is a mapping or a section, given on the command line as KEY=VALUE once for each entry."""
    shape = _shape(field)
    return shape is dict or (isinstance(shape, type) and issubclass(shape, BaseModel))


def _pairs(name: str, texts: Iterable[str]) -> dict[str, Any]:
    import yaml

    pairs: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"options: {name!r} is {text!r}, expected KEY=VALUE", field=name)
        try:
            pairs[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"options: {name!r} has {value!r}, which is no plain value", field=name) from None
    return pairs


# --- parameters ------------------------------------------------------------------------------------------------------


def _ordered(model: type[BaseModel], arguments: Mapping[str, str]) -> list[str]:
    return [*arguments, *(name for name in model.model_fields if name not in arguments)]


def _config_option() -> inspect.Parameter:
    import typer

    option = typer.Option("--config", metavar="FILE", help="YAML file with any of these; options stand above it")
    return _keyword("config", Annotated[str | None, option])


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parameter(model: type[BaseModel], name: str, arguments: Mapping[str, str]) -> inspect.Parameter:
    import typer

    field = model.model_fields[name]
    shape, words = _shape(field), _help(model, name)
    flag = "--" + name.replace("_", "-")
    if name in arguments:
        kind: Any = typer.Argument(help=words, metavar=arguments[name], show_default=False)
    elif shape is bool:
        # A switch that is on by default needs a way to turn it off; one that is off needs only itself.
        kind = typer.Option(f"{flag}/--no-{flag[2:]}" if field.default else flag, help=words, show_default=False)
    else:
        kind = typer.Option(flag, help=words, metavar=_metavar(field), show_default=False)
    base: Any = list[str] if shape in _LISTS or _takes_pairs(field) else bool if shape is bool else str
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[base | None, kind]
    )


def _plain(field: FieldInfo) -> Any:
    """The field's type without `| None` and without what pydantic adds to it."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _shape(field: FieldInfo) -> Any:
    kind = _plain(field)
    return get_origin(kind) or kind


def _metavar(field: FieldInfo) -> str:
    kind, shape = _plain(field), _shape(field)
    if shape is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    if _takes_pairs(field):
        return "KEY=VALUE"
    return {int: "N", float: "X", Path: "PATH"}.get(shape, "TEXT")


def _help(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    words = field.description or _documented(model).get(name, "")
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    known = default not in (None, "", {}, [], ()) and not isinstance(default, bool | BaseModel)
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    if isinstance(shape := _shape(field), type) and issubclass(shape, BaseModel):
        words = f"{words}; give once for each; keys: {', '.join(shape.model_fields)}"
    shown = f" (default: {default.value if isinstance(default, Enum) else default})" if known else ""
    return (words + shown).strip()


def _documented(model: type[BaseModel]) -> dict[str, str]:
    """The fields that the class and its bases describe in their docstrings as `name   what it is`."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        name = ""
        for line in inspect.cleandoc(base.__doc__ or "").splitlines() if issubclass(base, BaseModel) else ():
            match = _DOCUMENTED.match(line)
            if match:
                name = match[1].split(", ")[0]
                found |= dict.fromkeys(match[1].split(", "), match[2])
            elif line.startswith("   ") and name:
                found[name] += " " + line.strip()
            else:
                name = ""
    return found
