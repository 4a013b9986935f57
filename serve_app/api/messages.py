"""The one question that a chat's messages ask: these models answer a question and were never taught a dialogue."""

from __future__ import annotations

from typing import Any

from sprint.errors import InputError

_PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
}
SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 2,
    "description": "one user message with the question, and at most one system message, which stands before it",
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": ["user", "system", "developer"]},
            "content": {"anyOf": [{"type": "string"}, _PARTS]},
            "name": {"type": "string"},
        },
        "required": ["role", "content"],
    },
}


def question_of(messages: list[Any]) -> str:
    """One user message, with the system message, where there is one, before it. Raises InputError for anything else."""
    texts: dict[str, list[str]] = {"system": [], "user": []}
    for index, message in enumerate(messages):
        role, text = _message(message, f"messages[{index}]")
        texts[role].append(text)
    if len(texts["user"]) != 1 or len(texts["system"]) > 1:
        raise InputError(
            f"'messages' holds {len(texts['user'])} user and {len(texts['system'])} system messages,"
            " expected one user message and at most one system message",
            field="messages",
        )
    if not texts["user"][0].strip():
        raise InputError("the user message in 'messages' is empty, expected a question", field="messages")
    return "\n\n".join(texts["system"] + texts["user"])


def _message(message: Any, where: str) -> tuple[str, str]:
    """The role (system or user) and text of one message."""
    if not isinstance(message, dict):
        raise InputError(f"{where} is {message!r}, expected an object with role and content", field=where)
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ("system", "user"):
        raise InputError(f"{where}.role is {role!r}, expected 'system' or 'user'", field=f"{where}.role")
    return role, _content(message.get("content"), f"{where}.content")


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InputError(f"{where} is {content!r}, expected text", field=where)
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where} holds a part that is not text, expected parts of type 'text' only", field=where)
    return "".join(text for text in texts if text)
