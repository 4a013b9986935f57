"""Structured logs: one JSON object a line, each with the id of the request it belongs to.

    logs.setup(deployment="Planner")      # once per process, in the deployment's constructor
    logs.bind(request_id)                 # at the beginning of a request, in the task that serves it
    logs.say(log, WARNING, "a call was retried", pool="model", attempt=2)

`log` is an ordinary logger of the module (`logging.getLogger(__name__)`); what it is given as `extra` is told likewise.
The id lives in a context variable, so tasks started on behalf of a request carry it too. Whatever characters a value
holds, a record stays one line.

It knows the standard library's logging and nothing of HTTP or Ray. Neither questions nor what a model wrote belong in a
log: nothing here takes a rollout's text.
"""

from __future__ import annotations

import json as json_format
import logging
import math
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import INFO, WARNING
from typing import Any, TextIO

from sprint.printable import escaped
from sprint.types import Rollout, StopReason

TREES = ("serve_app", "sprint", "opentelemetry")  # our loggers, and that of the library that sends our traces
LONGEST_TEXT = 500  # characters of one value: a path or an error may be of any length
LONGEST_TRACEBACK = 8_000
FIELDS = "sprint_fields"  # the attribute of a record that holds what `say` was given

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_access_log = logging.getLogger("serve_app.access")


def bind(request_id: str) -> None:
    """From here on, what this task logs, and tasks that it starts, carries `request_id`."""
    _request_id.set(request_id)


def request_id() -> str:
    """The id that is bound, or an empty string."""
    return _request_id.get()


def setup(*, json: bool = True, deployment: str = "", level: int | str = INFO, stream: TextIO | None = None) -> None:
    """Sends what this project logs to `stream` (default: standard error), as JSON or as text for a person.

    Calling it again replaces what it did before. Records do not go on to the root logger, where Ray or a test runner
    may have a handler of its own that would write them a second time.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(deployment) if json else TextFormatter(deployment))
    for name in TREES:
        logger = logging.getLogger(name)
        for old in [old for old in logger.handlers if isinstance(old, _Handler)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


def say(logger: logging.Logger, level: int, message: str, /, **fields: Any) -> None:
    """Logs `message`, a constant sentence, with what varies in `fields`."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={FIELDS: fields}, stacklevel=2)


@dataclass(frozen=True, slots=True)
class Access:
    """One finished request, as the access line tells it. `client` is the name of its key, or its peer address."""

    method: str
    path: str
    status: int
    client: str
    seconds: float
    outcome: str = ""


def access(request: Access, rollout: Rollout | None = None) -> None:
    """The one line of a finished request; with what it cost, where a rollout answered it."""
    level = INFO if request.status < 500 else WARNING
    say(_access_log, level, "request finished", **_access_fields(request), **({} if rollout is None else cost(rollout)))


def cost(rollout: Rollout) -> dict[str, Any]:
    """The numbers of a rollout that a log line tells; why it failed, where it did."""
    usage = rollout.usage
    return {
        "stop_reason": str(rollout.stop_reason),
        "reason": rollout.detail if rollout.stop_reason is StopReason.FAILED else "",
        "rounds": usage.num_rounds,
        "executions": usage.num_executions,
        "generated_tokens": usage.generated_tokens,
        "pipelined_tokens": usage.pipelined_tokens,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_prompt_tokens,
        "first_token_seconds": _rounded(usage.time_to_first_token_s),
    }


def _access_fields(request: Access) -> dict[str, Any]:
    fields = {"method": request.method, "path": request.path, "status": request.status, "client": request.client}
    return fields | {"seconds": _rounded(request.seconds)} | ({"outcome": request.outcome} if request.outcome else {})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


# --- formatting ------------------------------------------------------------------------------------------------------


# Whatever else a record has is extra, but for what Ray adds to every record, which begins with an underscore.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class _Handler(logging.StreamHandler[TextIO]):
    """Marks what `setup` added."""


class _Formatter(logging.Formatter):
    def __init__(self, deployment: str) -> None:
        super().__init__()
        self._deployment = deployment

    def values(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line tells, in order."""
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}
        extra |= extra.pop(FIELDS, {})
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "deployment": self._deployment,
            "request_id": extra.pop("request_id", "") or request_id(),
            "message": record.getMessage(),
        }
        told |= {key: value for key, value in extra.items() if key not in told}
        told = {key: _short(value, LONGEST_TEXT) for key, value in told.items() if value != ""}
        if record.exc_info:
            told["exception"] = _short(self.formatException(record.exc_info), LONGEST_TRACEBACK)
        return told


class JsonFormatter(_Formatter):
    """A JSON object a line, ASCII only: readers split lines at more characters than one would think."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return escaped(json_format.dumps(self.values(record)))


class TextFormatter(_Formatter):
    """`time level message key=value …` for a person at a terminal, which no value can steer."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        told = self.values(record)
        message = told.pop("message", "")
        begin = f"{told.pop('time')[11:23]} {told.pop('level'):7} {message if _is_plain(message) else _quoted(message)}"
        return " ".join([begin, *(f"{_word(key)}={_word(value)}" for key, value in told.items())])


def _short(value: Any, longest: int) -> Any:
    """A value that JSON can hold, cut where it is too long."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _word(value: Any) -> str:
    """A value as one word."""
    text = str(value)
    return text if _is_plain(text) and not set(text) & set(' "=') else _quoted(text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _quoted(text: str) -> str:
    return escaped(json_format.dumps(text))
