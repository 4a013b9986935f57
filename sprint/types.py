"""The records that cross the doors between rooms. Frozen, plain, and ignorant of every framework.

Numbers in tags, rounds and steps start at 1. Token quantities end in `_tokens`, seconds in `_s`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from sprint.usage import Usage

# --- curation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """A teacher's raw sequential reasoning on one question.

    `reasoning` is what stands inside the think block, `response` what follows it, `answer` the gold answer and
    `closed` whether the thought was ever closed (False: the teacher ran out of budget). `level` and `subject` are those
    of the problem, where known.
    """

    id: str
    question: str
    reasoning: str
    answer: str = ""
    response: str = ""
    closed: bool = True
    level: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class LineRange:
    """Lines `first`..`last` of a numbered trace, both included, counted from 1."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class StepLines:
    """One step as an annotator names it: line ranges, never rewritten text (paper §3.2, A.2).

    `plan` says what to do, `execution` does it, `comment` remarks on it; any may be missing. `instruction` is what the
    executor is told.
    """

    plan: LineRange | None
    execution: LineRange | None
    instruction: str = ""
    comment: LineRange | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotator's answer for one trace: the steps, and for each step the numbers of its parents."""

    steps: tuple[StepLines, ...]
    parents: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A span of a trace with a plan and an optional execution (`""`: plan only). `parents` are step indices.

    `comment` remarks on what the execution found; a step without execution has none (it is part of its plan).
    """

    index: int
    plan: str
    execution: str = ""
    instruction: str = ""
    parents: tuple[int, ...] = ()
    comment: str = ""


class DropReason(StrEnum):
    """Why a trace did not become a training example. Every input row is kept or carries exactly one of these."""

    MALFORMED_ROW = "malformed_row"  # broken JSON, missing column, wrong type
    EMPTY_TRACE = "empty_trace"  # no question or no reasoning
    DUPLICATE = "duplicate"  # an earlier row has the same question and reasoning
    UNCLOSED_THOUGHT = "unclosed_thought"  # the think block never closed
    NO_ANSWER = "no_answer"  # the teacher gave no final answer
    WRONG_ANSWER = "wrong_answer"  # the final answer is not the gold answer
    TAG_IN_TRACE = "tag_in_trace"  # the trace already contains a protocol tag
    CONTAMINATED = "contaminated"  # shares an n-gram with a problem of an evaluation set
    REQUEST_FAILED = "request_failed"  # the annotating model could not be asked: worth another try
    ANNOTATION_FAILED = "annotation_failed"  # the annotator gave nothing usable
    UNPARSED_STEPS = "unparsed_steps"  # its reply names no steps, or no parents, even after the repair
    BAD_RANGES = "bad_ranges"  # line ranges out of bounds, reversed or overlapping
    BAD_PARENTS = "bad_parents"  # a parent that is not an earlier step
    UNCOVERED_TEXT = "uncovered_text"  # too many lines stand in no step
    SIBLING_LEAK = "sibling_leak"  # an execution uses what only a sibling of its round produced
    TOO_MANY_ROUNDS = "too_many_rounds"
    TOO_MANY_PROMPTS = "too_many_prompts"  # one round holds more prompts than allowed
    LOW_RATIO = "low_ratio"  # parallelism ratio below the threshold
    TOO_LONG = "too_long"


# --- protocol ------------------------------------------------------------------------------------------------------


class ExecutionOutcome(StrEnum):
    """How one execution ended."""

    COMPLETED = "completed"  # closed by its own tag
    ENDED = "ended"  # the model stopped (end of sequence, or a stray closing tag); the text is used as it is
    TRUNCATED = "truncated"  # hit its token limit; what was written is used
    FAILED = "failed"  # the engine raised; a marker is joined instead
    TIMED_OUT = "timed_out"  # exceeded its time limit; a marker is joined instead
    CANCELLED = "cancelled"  # the rollout ended first
    SKIPPED = "skipped"  # its round holds more prompts than allowed; a marker is joined instead
    NO_ROOM = "no_room"  # its prompt does not fit the context window
    RUNAWAY = "runaway"  # it said the same over and over; what was written is used
    LEFT_OUT = "left_out"  # enough of its siblings were in; a marker is joined instead


class PlanOutcome(StrEnum):
    """How one planner turn ended."""

    CLOSED = "closed"  # the plan was closed by its tag
    FINAL = "final"  # the planner wrote its final answer
    ENDED = "ended"  # the model stopped without closing its block
    TRUNCATED = "truncated"  # hit its token limit
    RUNAWAY = "runaway"  # it said the same over and over


@dataclass(frozen=True, slots=True)
class Execution:
    """The body of `<execution_i.k>`, without its tags."""

    text: str
    outcome: ExecutionOutcome = ExecutionOutcome.COMPLETED


@dataclass(frozen=True, slots=True)
class Round:
    """One round: the plan's body (prompts inline, in their tags) and one execution per prompt, in prompt order."""

    plan: str
    executions: tuple[Execution, ...] = ()


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Rounds and a final answer: what the model learns to write."""

    rounds: tuple[Round, ...]
    final_answer: str


# --- training ------------------------------------------------------------------------------------------------------


class Kind(IntEnum):
    """What a token of a training example is part of: losses are told apart by it."""

    NONE = 0  # the prompt, or not said
    PLAN = 1
    EXECUTION = 2
    ANSWER = 3  # the final answer; of a sequential text, its last paragraph
    THOUGHT = 4  # of a sequential text, what stands before the answer


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids and, for each, whether the model samples it (and so is supervised). One value: they never part.

    `kinds` holds a `Kind` per token; left out, every token is of Kind.NONE.
    """

    ids: tuple[int, ...] = ()
    sampled: tuple[bool, ...] = ()
    kinds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.kinds:
            object.__setattr__(self, "kinds", (0,) * len(self.ids))
        assert len(self.ids) == len(self.sampled) == len(self.kinds), "a token without its mask"

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.ids + other.ids, self.sampled + other.sampled, self.kinds + other.kinds)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Branch:
    """An execution that sees the first `attach` tokens of the main thread and itself, and nothing else."""

    attach: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A main thread and the executions that branch off it (layout `exact`); no branches in layout `flat`."""

    id: str
    main: Tokens
    branches: tuple[Branch, ...] = ()

    def __len__(self) -> int:
        return len(self.main) + sum(len(branch.tokens) for branch in self.branches)


# --- inference -----------------------------------------------------------------------------------------------------


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"  # the final answer was written and closed
    ENDED = "ended"  # the model stopped by itself without closing a final answer
    TOKEN_LIMIT = "token_limit"  # a plan, the final answer or the rollout hit its token limit
    RUNAWAY = "runaway"  # the answer said the same over and over
    CONTEXT_FULL = "context_full"  # the context window is full
    TIME_LIMIT = "time_limit"
    FAILED = "failed"  # the engine failed under the planner


class Failure(StrEnum):
    """How the engine failed, where it did: what a caller may do about it."""

    ENGINE = "engine"  # it refused the call or broke
    UNAVAILABLE = "unavailable"  # it could not be reached, or refused for load: worth another try
    TIMEOUT = "timeout"  # it did not answer in time
    REMOTE = "remote"  # it is a server elsewhere, which refused the call or broke


@dataclass(frozen=True, slots=True)
class TimelineSpan:
    """One call on the clock, in seconds since the rollout began: `kind` is plan, execution, final or sequential."""

    kind: str
    round: int
    number: int
    start_s: float
    first_token_s: float | None
    end_s: float
    generated_tokens: int
    prompt_tokens: int
    cached_tokens: int | None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A trajectory made at inference. `token_ids` is the planner's whole context; `text` what follows the prompt.

    `detail` says what went wrong first, where anything did; `failure` is given with stop reason FAILED.
    """

    question: str
    text: str
    answer_text: str
    trajectory: Trajectory | None
    usage: Usage
    stop_reason: StopReason
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    timeline: tuple[TimelineSpan, ...] = field(default=())
    detail: str = ""
    failure: Failure | None = None
