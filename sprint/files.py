"""Reading and writing the project's files: nothing half written, nothing silently skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sprint.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises InputError when it is missing or is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file. Raises InputError naming the line that is not one."""
    number = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:  # a text may hold other line breaks, unescaped
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield json_object(line, f"{path} line {number}")
    except OSError as error:
        raise InputError(f"{path} is not readable: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} after line {number}") from error


def json_object(line: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object from a line of `where`. Raises InputError when it is not one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is broken JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} holds a JSON {type(value).__name__}, expected an object")
    return value
