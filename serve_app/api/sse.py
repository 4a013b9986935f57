"""A rollout's events as OpenAI's streamed chunks. Pure: events in, JSON objects out.

The law: all `reasoning_content` joined is the rollout's text, all `content` joined is its answer. Executions run side
by side, so their text is sent when they are joined, in order; who wants to watch them asks for events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from serve_app.api.answers import Envelope, openai_usage
from serve_app.api.chat_request import ChatRequest
from serve_app.api.failures import error_of, failure_of
from sprint.events import Delta, Event, Finished, Part, RoundJoined, RoundStarted
from sprint.tags import THINK_OPEN
from sprint.types import Rollout


@dataclass(slots=True)
class Told:
    """What the choices of one answer share: who asked, and which of their rollouts are over."""

    asked: ChatRequest
    envelope: Envelope
    finished: list[Rollout] = field(default_factory=list)

    def usage_chunk(self) -> Iterator[dict[str, Any]]:
        """The chunk with the counts, where it was asked for and somebody has counted."""
        if self.asked.wants_usage and self.finished:
            yield self.envelope.usage_chunk([rollout.usage for rollout in self.finished])


class Transcript:
    """Turns the events of one choice into chunks."""

    def __init__(self, told: Told, index: int = 0) -> None:
        self._told = told
        self._envelope = told.envelope
        self._index = index
        self._sent = ""

    def opening(self) -> dict[str, Any]:
        """The first chunk, which says whose the text is."""
        return self._envelope.chunk(self._index, {"role": "assistant", "content": ""})

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        """What the client hears of `event`."""
        if not self._sent and not isinstance(event, RoundStarted):  # nothing has been written yet
            yield from self._reasoning(THINK_OPEN)
        if self._told.asked.sprint.events:
            yield self._envelope.event_chunk(self._index, event.as_dict())
        if isinstance(event, Finished):
            yield from self._end(event.rollout)
        elif isinstance(event, RoundJoined) or (isinstance(event, Delta) and event.part is not Part.EXECUTION):
            yield from self._reasoning(event.text)

    def _reasoning(self, text: str) -> Iterator[dict[str, Any]]:
        if text:
            self._sent += text
            yield self._envelope.chunk(self._index, {"reasoning_content": text})

    def _end(self, rollout: Rollout) -> Iterator[dict[str, Any]]:
        self._told.finished.append(rollout)
        if rollout.text.startswith(self._sent):  # the runtime's own last words were in no event
            yield from self._reasoning(rollout.text[len(self._sent) :])
        failure = failure_of(rollout)
        if failure is not None:  # what was written until then has been sent, what it cost goes with the error
            yield error_of(failure) | {"sprint": self._envelope.sprint_object(rollout)}
            return
        content, finish = self._envelope.content(rollout)
        if content:
            yield self._envelope.chunk(self._index, {"content": content})
        yield self._last(rollout, finish)

    def _last(self, rollout: Rollout, finish: str) -> dict[str, Any]:
        """A choice's last chunk. The last choice's carries the counts, unless they were asked for in an extra chunk."""
        last = self._envelope.chunk(self._index, {}, finish)
        last["sprint"] = self._envelope.sprint_object(rollout)
        told = self._told
        if len(told.finished) == told.asked.n and not told.asked.wants_usage:
            last["usage"] = openai_usage([each.usage for each in told.finished])
        return last
