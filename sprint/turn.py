"""Reading one call as it is sampled: a planner's turn, or an execution. Pure state, no clock, no engine.

Models write what they like. Whatever comes, a turn ends with an outcome, the ids to keep, and (for a plan) the prompts
that were closed. Text is parsed, never trusted: numbers in tags are what the runtime counts, not what the model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.events import Part
from sprint.llm import FinishReason
from sprint.reader import TokenReader
from sprint.tags import Tag, TagKind, Text
from sprint.tokenizer import IncrementalDecoder, Tokenizer
from sprint.types import ExecutionOutcome, PlanOutcome


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was closed. `end`: how many of the plan's ids it takes to close it."""

    number: int
    instruction: str
    end: int


class Turn:
    """What a planner's turn and an execution have in common.

    part     what is being written
    ids      the ids to keep in the context, once the turn is over
    closed   whether the turn ended by its own closing tag
    """

    part: Part

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._reader = TokenReader(tokenizer)
        self._body: list[str] = []
        self._opened = False  # whether the opening tag was sampled, and so the newline after it
        self._whole = 0  # ids after which no text was held back: a safe place to cut
        self.ids: list[int] = []
        self.closed = False
        self.ran_away = False
        self.over = False

    def feed(self, ids: Sequence[int], start: int = 0) -> tuple[int, str]:
        """Take at least one of the ids from `start` on, and none beyond a tag that they complete.

        Gives how many were taken, and the text that they complete. After `over`, nothing more may be fed.
        """
        assert not self.over, "fed after the end"
        shown: list[str] = []
        taken, pieces = self._reader.feed_some(ids, start)
        for piece in pieces:
            if self.over:
                break
            self._take(piece)
            if self.closed or not self.over:
                shown.append(piece.text)
        if not self.over:
            self.ids = self._reader.ids
            self._whole = self._whole if self._reader.held else len(self.ids)
        return taken, "".join(shown)

    @property
    def stage(self) -> tuple[Part, int]:
        """What is being written, and a count: they change with the tags that matter to others."""
        return self.part, 0

    def run_away(self) -> None:
        """The call is ended because it says the same over and over; what was written is kept."""
        self.ran_away = self.over = True

    def finish(self, reason: FinishReason | None) -> str:
        """The call ended. Gives the text that was held back until now."""
        rest = "" if self.over and not self.ran_away else "".join(piece.text for piece in self._reader.close())
        self._body.append(rest)
        self.over = True
        self._ended(reason)
        return rest

    @property
    def body(self) -> str:
        """The text inside the block, without the newlines that frame it."""
        text = "".join(self._body).removesuffix("\n")
        return text.removeprefix("\n") if self._opened else text

    def _take(self, piece: Text | Tag) -> None:
        if isinstance(piece, Text):
            self._body.append(piece.text)
        else:
            self._take_tag(piece)

    def _take_tag(self, tag: Tag) -> None:
        raise NotImplementedError

    def _ended(self, reason: FinishReason | None) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        """The turn's own closing tag was written: keep everything up to it."""
        self.closed = self.over = True
        self.ids = self._reader.ids_up_to_tag()

    def _cut_before_tag(self) -> None:
        """A tag that is not the model's to write: keep what stood before it."""
        self.over = True
        self.ids = self._reader.ids[: self._whole]


class PlanTurn(Turn):
    """One planner turn: a plan with prompts, or the final answer."""

    def __init__(self, tokenizer: Tokenizer, *, final: bool = False) -> None:
        super().__init__(tokenizer)
        self.part = Part.FINAL if final else Part.PLAN
        self.outcome = PlanOutcome.ENDED
        self.prompts: list[Prompt] = []
        self._instruction: list[str] | None = None

    @property
    def stage(self) -> tuple[Part, int]:
        return self.part, 2 * len(self.prompts) + self.asking

    @property
    def asking(self) -> bool:
        """Whether a prompt is open."""
        return self._instruction is not None

    def _take(self, piece: Text | Tag) -> None:
        super()._take(piece)
        if isinstance(piece, Text) and self._instruction is not None:
            self._instruction.append(piece.text)

    def _take_tag(self, tag: Tag) -> None:
        if tag.kind is TagKind.PROMPT:
            self._take_prompt(tag)
        elif tag.kind is TagKind.PLAN and tag.closing:
            self.outcome = PlanOutcome.CLOSED
            self._close()
        elif tag.kind is TagKind.FINAL:
            self._take_final(tag)
        elif tag.kind in (TagKind.EXECUTIONS, TagKind.EXECUTION) or (tag.kind is TagKind.THINK and tag.closing):
            self._cut_before_tag()
        elif tag.kind is TagKind.PLAN:
            self._open()
        else:
            self._passed_over()

    def _take_prompt(self, tag: Tag) -> None:
        self._body.append(tag.text)
        if not tag.closing:
            self._instruction = []
        elif self._instruction is not None:
            instruction = "".join(self._instruction).strip()
            self.prompts.append(Prompt(len(self.prompts) + 1, instruction, len(self._reader.ids)))
            self._instruction = None

    def _take_final(self, tag: Tag) -> None:
        if tag.closing:
            self.outcome = PlanOutcome.FINAL
            self._close()
        self.part = Part.FINAL
        if not tag.closing:
            self.prompts, self._instruction = [], None  # what had been asked for is no longer needed
            self._open()

    def _open(self) -> None:
        """A block is opened: what was written before it is none of it, but prompts that were closed stay asked."""
        if self.prompts or self._instruction is not None:
            self._passed_over()
            return
        self._opened = True
        self._body.clear()

    def _passed_over(self) -> None:
        """A tag that means nothing here is left out; what stood around it must not grow together into another."""
        self._body.append(" ")

    def _ended(self, reason: FinishReason | None) -> None:
        if self.ran_away:
            self.outcome = PlanOutcome.RUNAWAY
        elif not self.closed and reason is FinishReason.LENGTH:
            self.outcome = PlanOutcome.TRUNCATED


class ExecutionTurn(Turn):
    """One execution, up to its closing tag. Any other tag of the protocol ends it too."""

    part = Part.EXECUTION

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.outcome = ExecutionOutcome.ENDED

    def _take_tag(self, tag: Tag) -> None:
        if tag.kind is TagKind.EXECUTION and tag.closing:
            self.outcome = ExecutionOutcome.COMPLETED
            self._close()
        else:
            self._cut_before_tag()

    def _ended(self, reason: FinishReason | None) -> None:
        if self.ran_away:
            self.outcome = ExecutionOutcome.RUNAWAY
        elif not self.closed and reason is FinishReason.LENGTH:
            self.outcome = ExecutionOutcome.TRUNCATED


class FreeTurn(Turn):
    """Text written in one breath: every token is kept and nothing in it is a tag to us."""

    part = Part.SEQUENTIAL

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._decoder = IncrementalDecoder(tokenizer)

    def feed(self, ids: Sequence[int], start: int = 0) -> tuple[int, str]:
        taken, text = self._decoder.plain(ids, start)
        if not taken:
            taken, (text,) = 1, self._decoder.feed([ids[start]])
        self.ids += ids[start : start + taken]
        self._body.append(text)
        return taken, text

    def _ended(self, reason: FinishReason | None) -> None:
        self.over = True
