"""A model that annotates well: it says what the rules find, in the words that a model is asked to use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sprint import curate, dialogue, replies
from sprint.curate import CurationOptions, Prepared
from sprint.dialogue import DialogueOptions, Pending
from sprint.requests import Message, Purpose, Reply, Request, Role
from sprint.rules import RulesAnnotator

Messages = list[dict[str, str]]


def model(
    rows: Iterable[Mapping[str, Any]], options: CurationOptions, told: DialogueOptions
) -> Callable[[Messages], str]:
    """Answers the requests that a curation of these rows makes; to any other, and to repairs, it says so."""
    known = {key: text for row in rows for key, text in _replies(row, options, told)}

    def reply(messages: Messages) -> str:
        said = tuple(Message(Role(message["role"]), message["content"]) for message in messages)
        return known.get(Request(Purpose.STEPS, said, 1).key, "I do not know that trace.")

    return reply


def _replies(row: Mapping[str, Any], options: CurationOptions, told: DialogueOptions) -> list[tuple[str, str]]:
    prepared = curate.prepare(row, options)
    if not isinstance(prepared, Prepared):
        return []
    annotation = RulesAnnotator().annotate(prepared.trace.question, prepared.lines)
    texts = replies.encode(annotation, len(prepared.lines), structured=told.structured)
    said: dict[str, Reply] = {}
    for text in texts:
        state = dialogue.replay(dialogue.converse(prepared.trace.question, prepared.lines, told), said)
        if isinstance(state, Pending):
            said[state.request.key] = Reply(text)
    return [(key, reply.text) for key, reply in said.items()]
