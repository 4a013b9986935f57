"""Why something failed, out of what it wrote: tracebacks and logs in, one sentence out.

It knows what Python's and vLLM's tracebacks look like. An engine's process tells its parent no more than that it could
not start; the reason stands in the log that both write to, so the last lines of that are read too.
"""

from __future__ import annotations

import os
import re

LONGEST = 300  # characters
_TAIL_BYTES = 64 << 10

_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] )?(?:\([^)]*\) )?")  # of vLLM's log lines
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_ERROR = re.compile(r"^(?:[\w.]*\.)?([A-Z]\w*(?:Error|Exception|Exit|Overflow|Unavailable|Failed)): *(.*)")
_PYDANTIC = re.compile(r"^\s*(?:Value error, )?(.*?) \[type=\w+, input_value=")
_EMPTY = re.compile(r"Engine core initialization failed|See root cause above|^Traceback")
# Failures whose own words would not tell a reader what they mean.
_KNOWN = (
    (re.compile(r"out of memory|OutOfMemory|Cannot allocate memory|can't allocate memory", re.I), "out of memory"),
    (re.compile(r"memory for the cache blocks|KV cache is needed", re.I), "the KV cache does not fit its memory"),
    (re.compile(r"safetensors|incomplete metadata|header too large", re.I), "the weights cannot be read"),
)
_REPLACED = re.compile(r"health check failed")  # Ray Serve's words where it tells no error
_OWN = ("EngineFailed", "LLMUnavailable", "ConfigError")  # whose messages are sentences


def cause(message: str) -> str:
    """What went wrong: the last error that says something, in one line."""
    lines = [_PREFIX.sub("", _COLOUR.sub("", line)).strip() for line in message.splitlines()]
    said = [match[1] for line in lines if (match := _PYDANTIC.match(line))]
    errors = [match for line in lines if (match := _ERROR.match(line)) and match[2] and not _EMPTY.search(match[2])]
    if errors:
        known = [match for match in errors if any(known.search(match[0]) for known, _ in _KNOWN)]
        name, text = (known or errors)[-1].groups()
        text = f"{text}: {said[-1]}" if said and "validation error" in text else text
        return _shortened(text if name in _OWN else _explained(f"{name}: {text}"))
    if _REPLACED.search(message):
        return "a replica failed and is being replaced"
    telling = [line for line in lines if line]
    return _shortened(telling[-1] if telling else "no reason was given")


def cause_of(error: Exception) -> str:
    """What went wrong in this process or in one that writes to the same log."""
    text = f"{type(error).__name__}: {error}"
    return cause(_log_tail() + "\n" + text if _EMPTY.search(text) else text)


def _log_tail() -> str:
    """The end of what standard output and standard error go to, where those are files."""
    return "\n".join(_tail(f"/proc/self/fd/{number}") for number in (1, 2))


def _tail(link: str) -> str:
    try:
        path = os.readlink(link)
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _explained(text: str) -> str:
    return next((f"{words}: {text}" for known, words in _KNOWN if known.search(text)), text)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
