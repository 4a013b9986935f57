"""A rollout's events as OpenAI's streamed chunks. Pure: events in, JSON objects out.

The law: all `reasoning_content` joined is the rollout's text, all `content` joined is its answer. Executions run side
by side, so their text is sent when they are joined, in order; who wants to watch them asks for events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from serve_app.schema import ChatRequest, Envelope, error_object, finish_reason, openai_usage, sprint_object
from sprint.card import Method
from sprint.events import Delta, Event, Finished, Part, RoundJoined, RoundStarted
from sprint.tags import THINK_OPEN
from sprint.types import Rollout, StopReason

DONE = "data: [DONE]\n\n"


def sse(value: Mapping[str, Any]) -> str:
    """One server-sent event. ASCII only: many clients split lines at Unicode's line separators too."""
    return f"data: {json.dumps(value)}\n\n"


class Transcript:
    """Turns one rollout's events into chunks."""

    def __init__(self, asked: ChatRequest, envelope: Envelope, method: Method) -> None:
        self._asked = asked
        self._envelope = envelope
        self._method = method
        self._sent = ""

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        """What the client hears of `event`."""
        if not self._sent and not isinstance(event, RoundStarted):  # nothing has been written yet
            yield from self._reasoning(THINK_OPEN)
        if self._asked.sprint.events:
            yield self._envelope.event_chunk(event.as_dict())
        if isinstance(event, Finished):
            yield from self._end(event.rollout)
        elif isinstance(event, RoundJoined) or (isinstance(event, Delta) and event.part is not Part.EXECUTION):
            yield from self._reasoning(event.text)

    def _reasoning(self, text: str) -> Iterator[dict[str, Any]]:
        if text:
            self._sent += text
            yield self._envelope.chunk({"reasoning_content": text})

    def _end(self, rollout: Rollout) -> Iterator[dict[str, Any]]:
        if rollout.stop_reason is StopReason.FAILED:
            yield error_object(f"the engine failed: {rollout.detail or 'no detail was given'}", 500)
            return
        if rollout.text.startswith(self._sent):  # the runtime's own last words were in no event
            yield from self._reasoning(rollout.text[len(self._sent) :])
        if rollout.answer_text:
            yield self._envelope.chunk({"content": rollout.answer_text})
        yield from self._totals(rollout)

    def _totals(self, rollout: Rollout) -> Iterator[dict[str, Any]]:
        """The last chunk carries the counts, unless the client asked for OpenAI's extra chunk with them."""
        last = self._envelope.chunk({}, finish_reason(rollout))
        last["sprint"] = sprint_object(rollout, self._method, self._asked.sprint.timeline)
        if not self._asked.wants_usage:
            last["usage"] = openai_usage(rollout)
        yield last
        if self._asked.wants_usage:
            yield self._envelope.usage_chunk(rollout)
