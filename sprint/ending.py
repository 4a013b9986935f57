"""How a rollout ends: the answer in a text written in one breath, and what kind of failure an error is.

It knows the protocol's tags and the project's errors, and no loop.
"""

from __future__ import annotations

from sprint import tags
from sprint.errors import EndpointFailed, LLMError, LLMTimeout, LLMUnavailable
from sprint.types import Failure

_KINDS: dict[Failure, type[LLMError]] = {
    Failure.UNAVAILABLE: LLMUnavailable,
    Failure.TIMEOUT: LLMTimeout,
    Failure.REMOTE: EndpointFailed,
}


def error_kind(failure: Failure | None) -> type[LLMError]:
    """The error that a failure of this kind was; the inverse of `failure_of`."""
    return _KINDS.get(failure, LLMError) if failure else LLMError


def failure_of(error: LLMError) -> Failure:
    """What kind of failure an error of the engine's is."""
    return next((failure for failure, found in _KINDS.items() if isinstance(error, found)), Failure.ENGINE)


def answer_in(text: str) -> str:
    """The answer part of a text written in one breath: what follows the think block, or stands in its final block.

    Else the last boxed paragraph.
    """
    after = text.rpartition("</think>")[2].strip() if "</think>" in text else ""
    if after:
        return after
    if tags.FINAL_OPEN.strip() in text:
        return text.rpartition(tags.FINAL_OPEN.strip())[2].partition(tags.FINAL_CLOSE.strip())[0].strip()
    lines = [line.strip() for line in text.replace("</think>", "").splitlines() if line.strip()]
    boxed = [line for line in lines if "\\boxed" in line]
    return (boxed or lines or [""])[-1]
