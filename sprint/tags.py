"""The one place that spells and reads the protocol's tags (DESIGN §3; the published format, paper B.1).

`TagLexer` cuts a stream of text into text and tags, however the text is chunked. `parse` reads a whole trajectory back.
It knows nothing of tokens, models or graphs. Model text is only ever parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sprint.errors import ProtocolError
from sprint.types import Execution, Round, Trajectory

NOTHING_TO_EXECUTE = "No prompt to execute."
TRAIN_OF_THOUGHT_BREAK = "-----"
THINK_OPEN = "<think>\n"
THINK_CLOSE = "\n</think>"
FINAL_OPEN = "<Final_answer>\n"
FINAL_CLOSE = "\n</Final_answer>"


class TagKind(StrEnum):
    """The names of the protocol's tags. PLAN, EXECUTIONS, PROMPT and EXECUTION carry numbers."""

    THINK = "think"
    PLAN = "Plan"
    PROMPT = "prompt"
    EXECUTIONS = "Execution"
    EXECUTION = "execution"
    FINAL = "Final_answer"


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of text between tags."""

    text: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag as written. `round` and `number` are 0 where the tag has none."""

    kind: TagKind
    closing: bool
    round: int = 0
    number: int = 0

    @property
    def text(self) -> str:
        """The tag's spelling."""
        number = {TagKind.PLAN: f"_{self.round}", TagKind.EXECUTIONS: f"_{self.round}"}.get(self.kind, "")
        if self.kind in (TagKind.PROMPT, TagKind.EXECUTION):
            number = f"_{self.round}.{self.number}"
        return f"<{'/' if self.closing else ''}{self.kind}{number}>"


_TAG = re.compile(
    r"<(?P<closing>/?)(?:(?P<plain>think|Final_answer)|(?P<block>Plan|Execution)_(?P<r1>[1-9][0-9]{0,3})"
    r"|(?P<item>prompt|execution)_(?P<r2>[1-9][0-9]{0,3})\.(?P<n>[1-9][0-9]{0,3}))>"
)
PROMPT_CLOSING = re.compile(r"</prompt_[1-9][0-9]{0,3}\.[1-9][0-9]{0,3}>")
_LONGEST_TAG = len("</execution_9999.9999>")
_TAG_START = re.compile(r"</?[A-Za-z_]*(?:_[0-9]*(?:\.[0-9]*)?)?\Z")


def _tag(match: re.Match[str]) -> Tag:
    kind = TagKind(match["plain"] or match["block"] or match["item"])
    return Tag(kind, bool(match["closing"]), int(match["r1"] or match["r2"] or 0), int(match["n"] or 0))


class TagLexer:
    """Cuts text into `Text` and `Tag` pieces as it arrives.

    Joined, the pieces' texts are exactly what was fed. A tag comes out with the very chunk that completes it; text that
    may still become a tag is held back, at most the length of the longest tag, so every character is read a bounded
    number of times.
    """

    def __init__(self) -> None:
        self._held = ""

    @property
    def held(self) -> str:
        """Text fed but not given out yet."""
        return self._held

    def feed(self, text: str) -> list[Text | Tag]:
        """The pieces that `text` completes."""
        self._held += text
        pieces: list[Text | Tag] = []
        done = 0
        for match in _TAG.finditer(self._held):
            pieces += _text(self._held[done : match.start()])
            pieces.append(_tag(match))
            done = match.end()
        keep = self._start_of_possible_tag(done)
        pieces += _text(self._held[done:keep])
        self._held = self._held[keep:]
        return pieces

    def close(self) -> list[Text | Tag]:
        """What was held back, once no more text comes."""
        rest, self._held = self._held, ""
        return list(_text(rest))

    def _start_of_possible_tag(self, done: int) -> int:
        start = self._held.rfind("<", max(done, len(self._held) - _LONGEST_TAG))
        possible = start >= 0 and _TAG_START.match(self._held, start)
        return start if possible else len(self._held)


def _text(text: str) -> list[Text | Tag]:
    return [Text(text)] if text else []


def lex(text: str) -> list[Text | Tag]:
    """The pieces of a whole text: tags, and between two tags at most one text."""
    lexer = TagLexer()
    pieces = lexer.feed(text)
    rest = lexer.held
    if rest and pieces and isinstance(pieces[-1], Text):
        return [*pieces[:-1], Text(pieces[-1].text + rest)]
    return pieces + lexer.close()


def contains_tag(text: str) -> bool:
    """Whether any protocol tag stands in `text`."""
    return _TAG.search(text) is not None


# --- writing -------------------------------------------------------------------------------------------------------


def opening(kind: TagKind, round: int = 0, number: int = 0) -> str:
    return Tag(kind, False, round, number).text


def closing(kind: TagKind, round: int = 0, number: int = 0) -> str:
    return Tag(kind, True, round, number).text


def prompt(round: int, number: int, instruction: str) -> str:
    """A prompt inside a plan, on one line."""
    return f"{opening(TagKind.PROMPT, round, number)} {instruction} {closing(TagKind.PROMPT, round, number)}"


def name(round: int, number: int) -> str:
    """How a plan refers to an execution."""
    return f"execution_{round}.{number}"


def prompts_of(plan: str) -> tuple[str, ...]:
    """The instructions of a plan's prompts, in order. An unclosed prompt is not one."""
    found: list[str] = []
    current: str | None = None
    for piece in lex(plan):
        if isinstance(piece, Text):
            current = None if current is None else current + piece.text
        elif piece.kind is TagKind.PROMPT and not piece.closing:
            current = ""
        elif piece.kind is TagKind.PROMPT and current is not None:
            found.append(current.strip())
            current = None
    return tuple(found)


# --- reading a whole trajectory --------------------------------------------------------------------------------------


class _Reader:
    """Pieces, read in order, with errors that say where."""

    def __init__(self, text: str) -> None:
        self._pieces: Iterator[Text | Tag] = iter(lex(text))
        self.head: Text | Tag | None = next(self._pieces, None)

    def next(self) -> Text | Tag | None:
        head, self.head = self.head, next(self._pieces, None)
        return head

    def skip_blank(self) -> None:
        while isinstance(self.head, Text) and not self.head.text.strip():
            self.next()

    def at(self, tag: Tag) -> bool:
        self.skip_blank()
        return self.head == tag

    def expect(self, tag: Tag) -> None:
        if not self.at(tag):
            raise ProtocolError(f"expected {tag.text}, found {self._found()}")
        self.next()

    def body(self, end: Tag, allowed: TagKind | None = None) -> str:
        """The text up to `end`, less the one newline that the format puts at either end."""
        parts: list[str] = []
        while self.head != end:
            inner = self.next()
            if inner is None or (isinstance(inner, Tag) and inner.kind is not allowed):
                raise ProtocolError(f"{end.text} is missing before {inner.text if inner else 'the end of the text'}")
            parts.append(inner.text)
        self.next()
        return _unframe("".join(parts))

    def _found(self) -> str:
        return "the end of the text" if self.head is None else repr(self.head.text[:40])


def _unframe(body: str) -> str:
    return body.removeprefix("\n").removesuffix("\n")


def _block(reader: _Reader, kind: TagKind, round: int = 0, number: int = 0, allowed: TagKind | None = None) -> str:
    reader.expect(Tag(kind, False, round, number))
    return reader.body(Tag(kind, True, round, number), allowed)


def _executions(reader: _Reader, round: int, count: int) -> tuple[Execution, ...]:
    reader.expect(Tag(TagKind.EXECUTIONS, False, round))
    if not count:
        body = reader.body(Tag(TagKind.EXECUTIONS, True, round))
        if body != NOTHING_TO_EXECUTE:
            raise ProtocolError(f"Execution_{round} has no prompts, so expected {NOTHING_TO_EXECUTE!r}")
        return ()
    texts = [_block(reader, TagKind.EXECUTION, round, k) for k in range(1, count + 1)]
    reader.expect(Tag(TagKind.EXECUTIONS, True, round))
    return tuple(Execution(text) for text in texts)


def parse(text: str) -> Trajectory:
    """The trajectory written in `text`, which may or may not stand inside think tags.

    The inverse of `render.trajectory_text`. Raises ProtocolError naming the first place that breaks the format.
    """
    reader = _Reader(text)
    inside_think = reader.at(Tag(TagKind.THINK, False))
    if inside_think:
        reader.next()
    rounds: list[Round] = []
    while not reader.at(Tag(TagKind.FINAL, False)):
        number = len(rounds) + 1
        plan = _block(reader, TagKind.PLAN, number, allowed=TagKind.PROMPT)
        rounds.append(Round(plan, _executions(reader, number, len(_numbered_prompts(plan, number)))))
    final = _block(reader, TagKind.FINAL)
    if inside_think:
        reader.expect(Tag(TagKind.THINK, True))
    reader.skip_blank()
    if reader.head is not None:
        raise ProtocolError(f"text after the end of the trajectory: {reader.head.text[:40]!r}")
    return Trajectory(tuple(rounds), final)


def _numbered_prompts(plan: str, round: int) -> list[Tag]:
    """The plan's prompt tags, checked: opened and closed in turn, numbered round.1, round.2, …"""
    tags = [piece for piece in lex(plan) if isinstance(piece, Tag)]
    count = len(tags) // 2
    wanted = [Tag(TagKind.PROMPT, end, round, k) for k in range(1, count + 1) for end in (False, True)]
    if tags != wanted:
        raise ProtocolError(f"the prompts of Plan_{round} are not numbered {round}.1, {round}.2, … and closed in turn")
    return tags[::2]
