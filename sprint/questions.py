"""What a language model is asked about a trace: messages made of the prompt files, and the JSON schemas of the replies.

Laid out for prompt caches: what all traces share comes first, the trace next, and the second question continues the
chat of the first. It knows the grammar only as far as `replies.encode` writes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from sprint import replies
from sprint.annotate import lines_of
from sprint.lines import ends_paragraph
from sprint.requests import Message, Role
from sprint.types import Annotation, StepLines

PROMPTS = ("annotate_steps", "annotate_parents", "annotate_repair")
_SECTION = re.compile(r"^== (\w+)\n", re.M)
_SHOWN = 4000  # characters of an unusable reply that its repair shows again


def _schema(name: str, items: Mapping[str, Any]) -> Mapping[str, Any]:
    listed = {"type": "array", "items": items}
    return {"type": "object", "properties": {name: listed}, "required": [name], "additionalProperties": False}


STEPS_SCHEMA = _schema("steps", {"type": "string"})
PARENTS_SCHEMA = _schema("parents", {"type": "array", "items": {"type": "integer"}})


def prompts_hash() -> str:
    """Names the wording of all prompts, for manifests: SHA-256 over the files."""
    return hashlib.sha256("\0".join(f"{name}\0{_text(name)}" for name in PROMPTS).encode()).hexdigest()


def numbered(trace_lines: Sequence[str]) -> str:
    """The trace with each line's number before it, once; an empty line shows where a paragraph ends."""
    shown = (f"{number}: {' '.join(line.split())}" for number, line in enumerate(trace_lines, 1))
    gaps = ("\n\n" if ends_paragraph(line) else "\n" for line in trace_lines)
    return "".join(f"{text}{gap}" for text, gap in zip(shown, gaps, strict=True)).rstrip()


def ask_steps(
    question: str, trace_lines: Sequence[str], fold_lines: int, *, structured: bool = False
) -> tuple[Message, ...]:
    """The chat that asks for the steps."""
    system = _section("annotate_steps", "system", fold_lines=fold_lines)
    asked = _section("annotate_steps", _form(structured), problem=question.strip(), trace=numbered(trace_lines))
    return Message(Role.SYSTEM, system), Message(Role.USER, asked)


def ask_parents(
    chat: Sequence[Message], steps: Sequence[StepLines], num_lines: int, *, structured: bool = False
) -> tuple[Message, ...]:
    """The chat that asked for the steps, answered in the plain form whatever form the model chose, and goes on."""
    annotation = Annotation(tuple(steps), ((),) * len(steps))
    answered = replies.encode(annotation, num_lines, structured=structured)[0]
    form = _form(structured)
    asked = _section(
        "annotate_parents",
        "question",
        count=len(steps),
        steps="\n".join(f"{number}: {spelled(sorted(lines_of(step)))}" for number, step in enumerate(steps, 1)),
        example=_section("annotate_parents", f"{form}_example"),
        form=_section("annotate_parents", f"{form}_form"),
    )
    return (*chat, Message(Role.ASSISTANT, answered), Message(Role.USER, asked))


def ask_again(chat: Sequence[Message], reply: str, fault: str) -> tuple[Message, ...]:
    """The chat with the reply that cannot be used, and what was wrong with it."""
    return _again(chat, reply, _section("annotate_repair", "question", fault=fault))


def ask_shorter(chat: Sequence[Message], reply: str) -> tuple[Message, ...]:
    """The chat with the reply that was cut off, and the wish for nothing but the form."""
    return _again(chat, reply, _section("annotate_repair", "truncated"))


def spelled(lines: Sequence[int]) -> str:
    """Line numbers in words: `lines 3-5, 9`."""
    known = frozenset(lines)
    starts = [line for line in lines if line - 1 not in known]
    ends = [line for line in lines if line + 1 not in known]
    spans = (f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f"line{'s' * (len(lines) > 1)} {', '.join(spans)}"


def _again(chat: Sequence[Message], reply: str, asked: str) -> tuple[Message, ...]:
    said = reply.rpartition("</think>")[2].strip()
    shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]} …"
    return (*chat, Message(Role.ASSISTANT, shown or "(nothing)"), Message(Role.USER, asked))


def _form(structured: bool) -> str:
    return "structured" if structured else "question"


def _section(name: str, section: str, **values: object) -> str:
    return Template(_sections(name)[section]).substitute(values)


@cache
def _sections(name: str) -> Mapping[str, str]:
    """The parts of a prompt file, each under a line `== name`."""
    _, *parts = _SECTION.split(_text(name))
    return {section: text.strip() for section, text in zip(parts[::2], parts[1::2], strict=True)}


def _text(name: str) -> str:
    return (resources.files("sprint") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
