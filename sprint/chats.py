"""Reads a chat as one question and one reply.

Turns are `{role, content}` (OpenAI) or `{from, value}` (ShareGPT). The reply is the first assistant's turn that holds a
thought, or the first with any text where none does; the question is the last user's turn before it. All other turns,
system turns among them, are ignored: a trace is one question and one thought. Knows nothing of other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sprint.errors import InputError
from sprint.thoughts import has_marks

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant"}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a chat offers, None where it does not: `thought` is that of a message with a field of its own for it."""

    question: str | None = None
    reply: str | None = None
    thought: str | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    role: str
    text: str
    thought: str | None

    @property
    def thinks(self) -> bool:
        return self.thought is not None or has_marks(self.text)


def read(chat: Any) -> Exchange:
    """The exchange in a chat. Raises InputError, saying what was found, for a value that is no chat."""
    if not isinstance(chat, list):
        raise InputError(f"is a {type(chat).__name__}, expected a list of turns")
    turns = [_turn(value, number) for number, value in enumerate(chat, 1)]
    replies = [turn for turn in turns if turn.role == "assistant" and (turn.text or turn.thinks)]
    reply = next((turn for turn in replies if turn.thinks), replies[0] if replies else None)
    before = turns[: turns.index(reply)] if reply else turns
    question = next((turn.text for turn in reversed(before) if turn.role == "user"), None)
    return Exchange(question, reply.text, reply.thought) if reply else Exchange(question)


def _turn(value: Any, number: int) -> _Turn:
    if not isinstance(value, Mapping):
        raise InputError(f"turn {number} is a {type(value).__name__}, expected an object with role and content")
    role = value.get("role") or value.get("from")
    if not isinstance(role, str):
        raise InputError(f"turn {number} has no role")
    content = value.get("content") if value.get("content") is not None else value.get("value")
    thought = next((value[name] for name in _THOUGHTS if value.get(name)), None)
    if thought is not None and not isinstance(thought, str):
        raise InputError(f"the thought of turn {number} is a {type(thought).__name__}, expected text")
    return _Turn(_ROLES.get(role.lower(), "other"), _text(content, number), thought)


def _text(content: Any, number: int) -> str:
    """A turn's text; of content in parts, that of the parts that are text."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        texts = (part.get("text") for part in content)
        return "\n".join(text for text in texts if isinstance(text, str))
    raise InputError(f"the content of turn {number} is a {type(content).__name__}, expected text")
