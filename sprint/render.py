"""The one place that builds prompts and lays out trajectories, for training and for inference alike.

Text is cut into spans, each either sampled by the model or written by the runtime, and every span is tokenised by
itself. Inference concatenates the same pieces, so a training example holds, id for id, what the engine will send.
It does not know where text comes from or how it is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources

from sprint.card import Instruction, Method, ModelCard
from sprint.errors import ProtocolError
from sprint.reader import prompt_ends
from sprint.tags import (
    FINAL_CLOSE,
    FINAL_OPEN,
    NOTHING_TO_EXECUTE,
    THINK_CLOSE,
    THINK_OPEN,
    TagKind,
    closing,
    opening,
    parse,
)
from sprint.tokenizer import Tokenizer
from sprint.types import Branch, Kind, Round, Tokens, TrainingExample, Trajectory


class Layout(StrEnum):
    """How a trajectory becomes a training row (DESIGN §3)."""

    EXACT = "exact"  # each execution branches off the main thread where its prompt ends, as at inference
    FLAT = "flat"  # one causal sequence; an execution also sees its earlier siblings (the paper)


class Supervise(StrEnum):
    """Which tokens of an answer carry loss."""

    SAMPLED = "sampled"  # what a model samples at inference
    ALL = "all"  # the runtime's tags too, the think block's end and the end of sequence (the paper); layout `flat` only


# --- the runtime's own text ------------------------------------------------------------------------------------------


def branch_opening(round: int, number: int) -> str:
    """What an executor's context holds after the planner's tokens."""
    return f"\n{opening(TagKind.EXECUTION, round, number)}\n"


def execution_opening(round: int, number: int) -> str:
    """What joins execution `number` to what stands before it in the planner's context."""
    tag = f"{opening(TagKind.EXECUTION, round, number)}\n"
    return f"\n\n{opening(TagKind.EXECUTIONS, round)}\n{tag}" if number == 1 else f"\n\n{tag}"


def execution_closing(round: int, number: int) -> str:
    return f"\n{closing(TagKind.EXECUTION, round, number)}"


def executions_closing(round: int) -> str:
    return f"\n{closing(TagKind.EXECUTIONS, round)}\n\n"


def nothing_to_execute(round: int) -> str:
    """The whole execution block of a plan without prompts."""
    return f"\n\n{opening(TagKind.EXECUTIONS, round)}\n{NOTHING_TO_EXECUTE}{executions_closing(round)}"


def plan_closing(round: int) -> str:
    return f"\n{closing(TagKind.PLAN, round)}"


# --- text ------------------------------------------------------------------------------------------------------------


class Writer(StrEnum):
    """Who writes a span of the main thread."""

    PLANNER = "planner"
    EXECUTOR = "executor"
    RUNTIME = "runtime"

    @property
    def kind(self) -> Kind:
        """What its tokens are part of on the main thread; the runtime's tags belong to the executions they frame."""
        return Kind.PLAN if self is Writer.PLANNER else Kind.EXECUTION


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the main thread, tokenised by itself."""

    text: str
    writer: Writer


def plan_text(number: int, plan: str) -> str:
    """A whole plan block, as the planner samples it."""
    return f"{opening(TagKind.PLAN, number)}\n{plan}{plan_closing(number)}"


def execution_text(round: int, number: int, text: str) -> str:
    """An execution with its closing tag, as the executor samples it."""
    return f"{text}{execution_closing(round, number)}"


def final_text(answer: str) -> str:
    return f"{FINAL_OPEN}{answer}{FINAL_CLOSE}"


def _round_spans(number: int, round: Round) -> Iterator[Span]:
    yield Span(plan_text(number, round.plan), Writer.PLANNER)
    if not round.executions:
        yield Span(nothing_to_execute(number), Writer.RUNTIME)
        return
    for k, execution in enumerate(round.executions, 1):
        yield Span(execution_opening(number, k), Writer.RUNTIME)
        yield Span(execution_text(number, k, execution.text), Writer.EXECUTOR)
    yield Span(executions_closing(number), Writer.RUNTIME)


def main_thread(trajectory: Trajectory) -> Iterator[Span]:
    """The planner's context after the opening think tag, span by span, up to the end of the final answer."""
    for number, round in enumerate(trajectory.rounds, 1):
        yield from _round_spans(number, round)
    yield Span(final_text(trajectory.final_answer), Writer.PLANNER)


def trajectory_text(trajectory: Trajectory) -> str:
    """The whole think block. `tags.parse` is its inverse."""
    return THINK_OPEN + "".join(span.text for span in main_thread(trajectory)) + THINK_CLOSE


# --- tokens ----------------------------------------------------------------------------------------------------------


class Prompter:
    """Builds the prompt that a model with this card and tokenizer was taught with."""

    def __init__(self, tokenizer: Tokenizer, card: ModelCard) -> None:
        self.tokenizer = tokenizer
        self.card = card
        self._instruction = _instruction_text(card.instruction)
        self._last: tuple[str, tuple[int, ...]] = ("", ())

    def question_text(self, question: str) -> str:
        """The prompt, up to and including the opening think tag."""
        chat = self.tokenizer.chat(self.user_turn(question))
        stem = chat.removesuffix("\n").removesuffix("<think>") if chat.rstrip("\n").endswith("<think>") else chat
        return stem + THINK_OPEN

    def question_ids(self, question: str) -> tuple[int, ...]:
        """The prompt's ids. Asked again for the same question it remembers: who checks a length goes on to use it."""
        asked, ids = self._last
        if not ids or asked != question:
            ids = tuple(self.tokenizer.encode(self.question_text(question)))
            self._last = (question, ids)
        return ids

    def user_turn(self, question: str) -> str:
        """What the user says: the card's instruction and the question."""
        if not self._instruction:
            return question
        return f"{self._instruction}\n\n<Question>\n{question}\n</Question>"


def _instruction_text(instruction: Instruction) -> str:
    if instruction is Instruction.NONE:
        return ""
    path = resources.files("sprint") / "prompts" / f"{instruction}.txt"
    return path.read_text(encoding="utf-8").strip()


def training_example(
    id: str,
    question: str,
    text: str,
    prompter: Prompter,
    layout: Layout = Layout.EXACT,
    supervise: Supervise = Supervise.SAMPLED,
) -> TrainingExample:
    """The example that teaches `text` (a think block) as the answer to `question`, by the method of the model's card.

    Raises ProtocolError when `text` is not in the method's format. A sequential text is supervised whole in any case.
    """
    assert supervise is Supervise.SAMPLED or layout is Layout.FLAT, "layout exact supervises what is sampled"
    head = _tokens(prompter.question_ids(question), False, Kind.NONE)
    if prompter.card.method is Method.RFT:
        return TrainingExample(id, head + _sequential_tokens(text, prompter.tokenizer))
    example = _sprint_example(id, head, parse(text), prompter.tokenizer, layout)
    return example if supervise is Supervise.SAMPLED else _wholly_supervised(example, len(head), prompter.tokenizer)


def _sequential_tokens(text: str, tokenizer: Tokenizer) -> Tokens:
    if not text.startswith(THINK_OPEN):
        raise ProtocolError(f"a sequential training text begins with {text[:20]!r}, expected {THINK_OPEN!r}")
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    ids = tuple(tokenizer.encode(text.removeprefix(THINK_OPEN)) + end)
    # The text is tokenised whole, as a server would read it, so the answer's share is counted from its own tokens.
    answer = min(len(ids), len(tokenizer.encode(text.rpartition("\n\n")[2])) + len(end))
    kinds = (int(Kind.THOUGHT),) * (len(ids) - answer) + (int(Kind.ANSWER),) * answer
    return Tokens(ids, (True,) * len(ids), kinds)


def _sprint_example(
    id: str, main: Tokens, trajectory: Trajectory, tokenizer: Tokenizer, layout: Layout
) -> TrainingExample:
    branches: list[Branch] = []
    for number, round in enumerate(trajectory.rounds, 1):
        for span in _round_spans(number, round):
            ids = tuple(tokenizer.encode(span.text))
            if span.writer is Writer.PLANNER and layout is Layout.EXACT:
                branches += _branches(number, round, len(main), ids, tokenizer)
            main += _tokens(ids, _is_sampled(span, layout), span.writer.kind)
    final = tuple(tokenizer.encode(final_text(trajectory.final_answer)))
    return TrainingExample(id, main + _tokens(final, True, Kind.ANSWER), tuple(branches))


def _wholly_supervised(example: TrainingExample, head: int, tokenizer: Tokenizer) -> TrainingExample:
    """All that follows the first `head` tokens carries loss, and with it the end that no engine waits for."""
    eos = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
    main = example.main + _tokens((*tokenizer.encode(THINK_CLOSE), *eos), True, Kind.ANSWER)
    sampled = (False,) * head + (True,) * (len(main) - head)
    return replace(example, main=replace(main, sampled=sampled))


def _is_sampled(span: Span, layout: Layout) -> bool:
    """Whether the span is supervised on the main thread: in layout `exact` executions are supervised on branches."""
    return span.writer is Writer.PLANNER or (span.writer is Writer.EXECUTOR and layout is Layout.FLAT)


def _branches(
    number: int, round: Round, start: int, plan_ids: tuple[int, ...], tokenizer: Tokenizer
) -> Iterator[Branch]:
    ends = prompt_ends(plan_ids, tokenizer)
    for k, (end, execution) in enumerate(zip(ends, round.executions, strict=True), 1):
        head = _tokens(tuple(tokenizer.encode(branch_opening(number, k))), False, Kind.EXECUTION)
        body = _tokens(tuple(tokenizer.encode(execution_text(number, k, execution.text))), True, Kind.EXECUTION)
        yield Branch(start + end, head + body)


def _tokens(ids: tuple[int, ...], sampled: bool, kind: Kind) -> Tokens:
    return Tokens(ids, (sampled,) * len(ids), (int(kind),) * len(ids))
