"""The conversation that annotates a trace: which steps it has, which need which, and one repair of each answer.

Sans IO. `converse` is a generator that yields requests and is sent replies; `replay` drives it with replies that are
known already, `ask_all` with a function that asks. It knows no endpoint, no engine and no file.

A reply that was cut off is never read, even where it could be: its last line may be half a number. Its repair asks for
nothing but the form and gives twice the room, so that something changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sprint import questions
from sprint.annotate import FOLD_LINES, UnusableAnnotation, lines_of
from sprint.errors import ConfigError
from sprint.replies import ReplyError, parse_parents, parse_steps
from sprint.requests import AnnotationUsage, Exchange, Message, Purpose, Reply, Request, RequestFailed
from sprint.types import Annotation, DropReason, StepLines

Conversation = Generator[Request, Reply, Annotation]
T = TypeVar("T")

_CHARACTERS_PER_TOKEN = 3  # of mathematical prose; only sizes the room for a reply
_MOST_CHARACTERS_PER_TOKEN = 20  # no reply within its limit has more; what has is not read
_REPAIRS = {Purpose.STEPS: Purpose.STEPS_REPAIR, Purpose.PARENTS: Purpose.PARENTS_REPAIR}


@dataclass(frozen=True, slots=True)
class DialogueOptions:
    """How a trace is asked about.

    structured         ask for JSON, and send its schema along
    repair             tell the model once per question what was wrong
    min_coverage       share of the lines with text that must stand in a step; a reply below it is repaired
    fold_lines         executions of at most so many lines are the planner's own; the model is told
    max_output_share   room for one reply, as a share of the trace's tokens (about a third of its characters) …
    least_tokens       … but at least so many tokens
    max_tokens         … and at most so many, where given
    thinking_tokens    room on top for a model that thinks before it replies
    """

    structured: bool = False
    repair: bool = True
    min_coverage: float = 0.0
    fold_lines: int = FOLD_LINES
    max_output_share: float = 0.5
    least_tokens: int = 512
    max_tokens: int | None = None
    thinking_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("min_coverage", "fold_lines", "max_output_share", "least_tokens", "max_tokens", "thinking_tokens"):
            bound = int(name in ("least_tokens", "max_tokens"))
            value: float | None = getattr(self, name)
            if value is not None and value < bound:
                raise ConfigError(f"{name} is {value}, expected at least {bound}", field=name)
        if self.min_coverage > 1:
            raise ConfigError(f"min_coverage is {self.min_coverage}, expected at most 1", field="min_coverage")

    def room(self, num_chars: int, *, doubled: bool = False) -> int:
        """Tokens that one reply about a trace of `num_chars` characters may have."""
        wanted = int(self.max_output_share * num_chars / _CHARACTERS_PER_TOKEN)
        room = max(wanted, self.least_tokens) * (2 if doubled else 1)
        return (room if self.max_tokens is None else min(room, self.max_tokens)) + self.thinking_tokens


def converse(question: str, trace_lines: Sequence[str], options: DialogueOptions = DialogueOptions()) -> Conversation:
    """Asks for the steps of a trace and then, if there are several, for their parents.

    Raises UnusableAnnotation when a reply is unusable and so is its repair, with the reason of the last.
    """
    if not any(line.strip() for line in trace_lines):
        raise UnusableAnnotation("the trace has no text", DropReason.ANNOTATION_FAILED)
    ask = _Ask(sum(map(len, trace_lines)), options)
    chat = questions.ask_steps(question, trace_lines, options.fold_lines, structured=options.structured)
    first = ask.request(Purpose.STEPS, chat)
    steps = yield from ask(first, lambda text: _covering(parse_steps(text, len(trace_lines)), trace_lines, options))
    if len(steps) == 1:
        return Annotation(steps, ((),))
    chat = questions.ask_parents(chat, steps, len(trace_lines), structured=options.structured)
    parents = yield from ask(ask.request(Purpose.PARENTS, chat), lambda text: parse_parents(text, len(steps)))
    return Annotation(steps, parents)


def _covering(
    steps: tuple[StepLines, ...], trace_lines: Sequence[str], options: DialogueOptions
) -> tuple[StepLines, ...]:
    """The steps, where enough of the lines with text stand in one."""
    named = lines_of(*steps)
    told = [number for number, line in enumerate(trace_lines, 1) if line.strip()]
    left_out = [number for number in told if number not in named]
    if len(told) - len(left_out) < options.min_coverage * len(told):
        fault = f"it leaves out {questions.spelled(left_out)}, but every line must stand in a step."
        raise ReplyError(fault, DropReason.UNCOVERED_TEXT)
    return steps


@dataclass(frozen=True, slots=True)
class _Ask:
    """Asks one question of a trace of `num_chars` characters, twice where the first reply cannot be used."""

    num_chars: int
    options: DialogueOptions

    def request(self, purpose: Purpose, chat: Sequence[Message], *, doubled: bool = False) -> Request:
        about_steps = purpose in (Purpose.STEPS, Purpose.STEPS_REPAIR)
        schema = questions.STEPS_SCHEMA if about_steps else questions.PARENTS_SCHEMA
        room = self.options.room(self.num_chars, doubled=doubled)
        return Request(purpose, tuple(chat), room, schema if self.options.structured else None)

    def __call__(self, first: Request, read: Callable[[str], T]) -> Generator[Request, Reply, T]:
        reply = yield first
        try:
            return _read(first, reply, read)
        except ReplyError as error:
            if not self.options.repair:
                raise UnusableAnnotation(str(error), error.reason) from None
            again = self._repair(first, reply, str(error))
        try:
            return _read(again, (yield again), read)
        except ReplyError as error:
            raise UnusableAnnotation(f"after a repair: {error}", error.reason) from None

    def _repair(self, first: Request, reply: Reply, fault: str) -> Request:
        if reply.truncated:
            chat = questions.ask_shorter(first.messages, reply.text)
        else:
            chat = questions.ask_again(first.messages, reply.text, fault)
        return self.request(_REPAIRS[first.purpose], chat, doubled=reply.truncated)


def _read(request: Request, reply: Reply, read: Callable[[str], T]) -> T:
    if reply.truncated:
        raise ReplyError("the reply was cut off at its token limit.", DropReason.UNPARSED_STEPS)
    if len(reply.text) > _MOST_CHARACTERS_PER_TOKEN * request.max_tokens:
        fault = f"the reply has {len(reply.text)} characters, too many for {request.max_tokens} tokens."
        raise ReplyError(fault, DropReason.UNPARSED_STEPS)
    return read(reply.text)


# --- driving ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """The conversation waits for the reply to `request`."""

    request: Request
    exchanges: tuple[Exchange, ...]
    usage: AnnotationUsage


@dataclass(frozen=True, slots=True)
class Annotated:
    """The conversation gave an annotation."""

    annotation: Annotation
    exchanges: tuple[Exchange, ...]
    usage: AnnotationUsage


@dataclass(frozen=True, slots=True)
class Unusable:
    """The conversation gave none. `reason` REQUEST_FAILED: the model could not be asked, so another try may help."""

    reason: DropReason
    detail: str
    exchanges: tuple[Exchange, ...]
    usage: AnnotationUsage


Outcome = Annotated | Unusable


def replay(conversation: Conversation, replies: Mapping[str, Reply | RequestFailed]) -> Pending | Outcome:
    """Drives a fresh conversation with the replies known by request key, as far as they go."""
    state = _begin(conversation)
    while isinstance(state, Pending) and state.request.key in replies:
        state = _go_on(conversation, state, replies[state.request.key])
    return state


async def ask_all(conversation: Conversation, ask: Callable[[Request], Awaitable[Reply]]) -> Outcome:
    """Drives a fresh conversation to its end. RequestFailed raised by `ask` ends it; other errors are the caller's."""
    state = _begin(conversation)
    while isinstance(state, Pending):
        try:
            reply: Reply | RequestFailed = await ask(state.request)
        except RequestFailed as error:
            reply = error
        state = _go_on(conversation, state, reply)
    return state


def replies_of(exchanges: Iterable[Exchange]) -> dict[str, Reply]:
    """Recorded exchanges as replies for `replay`. They were paid for then: replaying them costs nothing."""
    return {exchange.key: Reply(exchange.text, exchange.truncated, AnnotationUsage()) for exchange in exchanges}


def _begin(conversation: Conversation) -> Pending | Outcome:
    return _state(lambda: next(conversation), (), AnnotationUsage())


def _go_on(conversation: Conversation, state: Pending, reply: Reply | RequestFailed) -> Pending | Outcome:
    """What becomes of a conversation that waits, once the reply is there."""
    usage = state.usage + reply.usage
    if isinstance(reply, RequestFailed):
        conversation.close()
        return Unusable(DropReason.REQUEST_FAILED, str(reply), state.exchanges, usage)
    request = state.request
    exchange = Exchange(request.key, request.purpose, reply.text, reply.truncated)
    is_repair = request.purpose.is_repair and reply.usage.num_calls > 0
    counted = replace(usage, num_repairs=usage.num_repairs + is_repair)
    return _state(lambda: conversation.send(reply), (*state.exchanges, exchange), counted)


def _state(step: Callable[[], Request], exchanges: tuple[Exchange, ...], usage: AnnotationUsage) -> Pending | Outcome:
    try:
        return Pending(step(), exchanges, usage)
    except StopIteration as ended:
        return Annotated(ended.value, exchanges, usage)
    except UnusableAnnotation as error:
        return Unusable(error.reason, str(error), exchanges, usage)
    except Exception as error:  # a reply that breaks its reader costs its own trace, and what it cost is still counted
        return Unusable(DropReason.ANNOTATION_FAILED, failure(error), exchanges, usage)


def failure(error: Exception) -> str:
    """An unexpected error as the detail of a trace that it spoilt."""
    return f"{type(error).__name__}: {error}"
