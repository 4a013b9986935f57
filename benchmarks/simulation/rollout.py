"""One question being answered: plans, executions that begin when their prompt closes, joins, the final answer.

It knows a structure and how calls are asked for, and neither engines nor replicas. As in `sprint.rollout`, the context
only grows, executions see the thread up to the end of their prompt, and what they wrote is read again by the planner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.simulation.engine import Call
from benchmarks.structures import Structure

SENT_TOKENS = 128  # where nobody reads along, what is sampled is sent on in pieces of so many tokens


@dataclass(frozen=True, slots=True)
class Words:
    """Tokens that the runtime writes; depends on the tokenizer.

    branch    after the thread, where an execution begins
    opening   before each execution that is joined
    closing   behind the last one
    nothing   the whole block of a plan without prompts
    """

    branch: int = 10
    opening: int = 14
    closing: int = 8
    nothing: int = 20


class Asks(Protocol):
    """Whoever makes calls: for the planner or for an executor, told of each mark."""

    def __call__(self, call: Call, executor: bool) -> None: ...


class Rollout:
    """`begin` asks the first call; `ended` is told when the final answer is there."""

    def __init__(
        self, structure: Structure, session: str, age: float, words: Words, ask: Asks, ended: Callable[[], None]
    ) -> None:
        self._structure, self._session, self._age, self._words = structure, session, age, words
        self._ask, self._ended = ask, ended
        self._context = structure.question_tokens
        self._round = 0
        self._open = 0  # calls of this round that have not ended
        self.calls = 0

    def begin(self) -> None:
        """Asks for the plan of the next round, or for the final answer after the last one."""
        if self._round == len(self._structure.rounds):
            self._asked(self._context, self._context, self._structure.final_tokens, (), self._final)
            return
        counts = self._structure.rounds[self._round]
        self._open = 1 + len(counts.prefix_tokens)
        self._asked(self._context, self._context, counts.plan_tokens, counts.prefix_tokens, self._planned)

    def _asked(
        self, prompt: int, thread: int, says: int, ends: tuple[int, ...], told: Callable[[int], None], *, k: int = 0
    ) -> None:
        marks = tuple(sorted({1, *ends, *range(SENT_TOKENS, says, SENT_TOKENS), says}))
        self.calls += 1
        self._ask(Call(self._session, (self._age, not k), prompt, thread, marks, not k, told), bool(k))

    def _planned(self, tokens: int) -> None:
        counts = self._structure.rounds[self._round]
        for k, end in enumerate(counts.prefix_tokens, 1):
            if end == tokens:
                says = counts.execution_tokens[k - 1]
                thread = self._context + end
                self._asked(thread + self._words.branch, thread, says, (), self._executed(says), k=k)
        if tokens == counts.plan_tokens:
            self._one_less()

    def _executed(self, says: int) -> Callable[[int], None]:
        def told(tokens: int) -> None:
            if tokens == says:
                self._one_less()

        return told

    def _one_less(self) -> None:
        self._open -= 1
        if self._open:
            return
        counts, words = self._structure.rounds[self._round], self._words
        joined = sum(counts.execution_tokens) + len(counts.execution_tokens) * words.opening + words.closing
        self._context += counts.plan_tokens + (joined if counts.execution_tokens else words.nothing)
        self._round += 1
        self.begin()

    def _final(self, tokens: int) -> None:
        if tokens == self._structure.final_tokens:
            self._ended()
