"""What clients hear: rollouts and texts in OpenAI's shapes, with the project's own counts beside them. Pure data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from serve_app.api.stop import cut
from sprint.card import Method
from sprint.types import Rollout, StopReason
from sprint.usage import Usage

FINISH = {StopReason.ANSWERED: "stop", StopReason.ENDED: "stop"}  # every other reason is a limit: "length"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every object of one answer carries, and how rollouts are told in it.

    stops     strings that end the answer of a rollout
    timeline  whether clients asked when each call began and ended
    """

    id: str
    created: int
    model: str
    method: Method
    stops: tuple[str, ...] = ()
    timeline: bool = False

    def completion(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """The whole answer in one object."""
        choices = [self._choice(index, rollout) for index, rollout in enumerate(rollouts)]
        usage = openai_usage([rollout.usage for rollout in rollouts])
        return self._object("chat.completion") | {"choices": choices, "usage": usage, "sprint": self.totals(rollouts)}

    def _choice(self, index: int, rollout: Rollout) -> dict[str, Any]:
        content, finish = self.content(rollout)
        message = {"role": "assistant", "content": content, "reasoning_content": rollout.text}
        return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}

    def content(self, rollout: Rollout) -> tuple[str, str]:
        """The answer, cut where the client wants it cut, and the finish reason."""
        content, stopped = cut(rollout.answer_text, self.stops)
        return content, "stop" if stopped else finish_reason(rollout)

    def totals(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """The `sprint` object of an answer; where it has several choices, each choice's own and the sum of all."""
        if len(rollouts) == 1:
            return self.sprint_object(rollouts[0])
        usage = reduce(add, (rollout.usage for rollout in rollouts))
        each = [self.sprint_object(rollout) for rollout in rollouts]
        return {"usage": usage.as_dict(), "method": self.method, "choices": each}

    def sprint_object(self, rollout: Rollout) -> dict[str, Any]:
        """How one rollout went."""
        values: dict[str, Any] = {
            "usage": rollout.usage.as_dict(),
            "stop_reason": rollout.stop_reason,
            "method": self.method,
        }
        if rollout.detail:
            values["detail"] = rollout.detail
        if self.timeline:
            values["timeline"] = [asdict(span) for span in rollout.timeline]
        return values

    # --- streamed ----------------------------------------------------------------------------------------------------

    def chunk(self, index: int, delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
        """A piece of a streamed answer."""
        choice = {"index": index, "delta": dict(delta), "finish_reason": finish, "logprobs": None}
        return self._object("chat.completion.chunk") | {"choices": [choice]}

    def event_chunk(self, index: int, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event of a rollout; clients that do not know it find no choices and pass on."""
        told = {"choices": [], "sprint_event": {"choice": index, **event}}
        return self._object("chat.completion.chunk") | told

    def usage_chunk(self, usages: Sequence[Usage]) -> dict[str, Any]:
        """The counts in a chunk of their own."""
        return self._object("chat.completion.chunk") | {"choices": [], "usage": openai_usage(usages)}

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(rollout: Rollout) -> str:
    """The stop reason in OpenAI's words."""
    return FINISH.get(rollout.stop_reason, "length")


def openai_usage(usages: Sequence[Usage]) -> dict[str, Any]:
    """The counts in OpenAI's words: tokens over all calls of all rollouts."""
    usage = reduce(add, usages)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
