"""One question being answered: the loop of rounds, and the books of it (paper §3.1).

    the planner streams; each time a prompt closes an executor starts; results join in prompt order; the planner goes on

It lives as long as the rollout and says what happens as events. It knows no server, no clock but the ledger's, and no
tag but through `render` and `turn`. How one call is made stands in `calls`, how executions are watched in `executions`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from sprint import render, tags
from sprint.calls import Calls
from sprint.card import Method
from sprint.ending import answer_in, failure_of
from sprint.errors import ContextOverflow, LLMError
from sprint.events import Delta, Discarded, Event, Part, PlanEnded, RoundJoined, RoundStarted
from sprint.executions import Executions, Result
from sprint.gate import Policy
from sprint.ledger import Ledger
from sprint.llm import LLM, FinishReason
from sprint.options import EngineOptions, Mode, View
from sprint.published import published_counts
from sprint.render import Prompter
from sprint.turn import FreeTurn, PlanTurn
from sprint.types import Execution, ExecutionOutcome, Failure, PlanOutcome, Rollout, Round, StopReason, Trajectory
from sprint.usage import RoundCounts

_DEEDLESS = {  # outcomes whose text is not used: a short marker is joined instead, so that the planner knows
    ExecutionOutcome.FAILED: "[This execution failed.]",
    ExecutionOutcome.TIMED_OUT: "[This execution took too long.]",
    ExecutionOutcome.SKIPPED: "[This prompt was not executed: too many prompts in one plan.]",
    ExecutionOutcome.NO_ROOM: "[This execution did not fit the context.]",
    ExecutionOutcome.LEFT_OUT: "[This execution was left out.]",
}


Emit = Callable[[Event], None]


def _nobody(event: Event) -> None:
    """Nobody hears it."""


class Loop:
    """One rollout. `drive` runs it to its end; cancelling that cancels every call it has made.

    `emit` hears what happens, as it happens; None: nobody does, and nothing is put into words for it.
    """

    def __init__(
        self,
        models: tuple[LLM, LLM],
        prompter: Prompter,
        context_tokens: int,
        question: str,
        options: EngineOptions,
        policy: Policy,
        session: str,
        emit: Emit | None,
    ) -> None:
        self.planner, self.executor = models
        self.prompter, self.tokenizer = prompter, prompter.tokenizer
        self.question, self.options, self.policy, self.emit = question, options, policy, emit or _nobody
        self.ledger = Ledger()
        named = session or f"{random.getrandbits(64):016x}"
        self.calls = Calls(options, self.ledger, context_tokens, named, emit is not None)
        self.prompt_ids = prompter.question_ids(question)
        self.context: list[int] = list(self.prompt_ids)
        self.rounds: list[Round] = []
        self.final = ""
        self.detail = ""
        self.failure: Failure | None = None
        self.sequential = False
        self.width = asyncio.Semaphore(options.max_concurrency)
        self._opening_tokens = len(self.tokenizer.encode(tags.FINAL_OPEN))

    async def drive(self) -> Rollout:
        """The finished rollout, whatever happens on the way."""
        try:
            async with asyncio.timeout(self.options.time_limit_s):
                reason = await self._until_answered()
        except ContextOverflow as error:
            reason, self.detail = StopReason.CONTEXT_FULL, str(error)
        except LLMError as error:  # the engine's own timeout among them, so before the rollout's
            reason, self.detail, self.failure = StopReason.FAILED, str(error), failure_of(error)
        except TimeoutError:
            reason = StopReason.TIME_LIMIT
        return self._finished(reason)

    async def _until_answered(self) -> StopReason:
        """Works on the question, again from its beginning while no answer is boxed and rollouts are left."""
        for left in reversed(range(self.options.rollouts)):
            reason = await self._once()
            if not left or "\\boxed" in self.final or self.calls.budget() < 1:
                break
            self._begin_again()
        return reason

    async def _once(self) -> StopReason:
        mode = self._mode()
        self.sequential = mode is Mode.SEQUENTIAL
        return await (self._in_one_breath() if self.sequential else self._in_rounds(mode))

    def _mode(self) -> Mode:
        """PARALLEL, SEQUENTIAL, or AUTO where the first plan decides."""
        if self.options.mode is not Mode.AUTO:
            return self.options.mode
        if self.prompter.card.method is not Method.SPRINT:
            return Mode.SEQUENTIAL
        return self.policy.before(self.question, len(self.prompt_ids))

    def _begin_again(self) -> None:
        self.ledger.num_retries += 1
        self.ledger.discarded_tokens = self.ledger.generated_tokens
        self.context, self.rounds, self.final = list(self.prompt_ids), [], ""
        self.emit(Discarded(0))

    # --- in rounds ---------------------------------------------------------------------------------------------------

    async def _in_rounds(self, mode: Mode) -> StopReason:
        for number in range(1, self.options.max_rounds + 1):
            if self.calls.room(self.context) < (1 + self._opening_tokens if number == self.options.max_rounds else 1):
                return self._no_room()
            async with _children() as group:
                turn, executions = await self._plan(number, group)
                if turn.part is Part.FINAL:  # nobody will read what it had asked for before
                    await executions.cancel()
                results = await executions.results() if turn.part is Part.PLAN else []
            self.detail = self.detail or executions.detail
            self.context += turn.ids
            if turn.part is Part.FINAL:
                return self._answered(turn)
            if turn.outcome is PlanOutcome.ENDED and not turn.prompts:
                self.rounds.append(Round(turn.body))
                self.ledger.rounds.append(RoundCounts(len(turn.ids)))
                return StopReason.ENDED
            self._join(number, turn, results, executions)
            if mode is Mode.AUTO and number == 1 and self._leaves_rounds(turn):
                self.sequential = True
                return await self._in_one_breath()
        raise AssertionError("the last round always ends with a final answer")

    def _leaves_rounds(self, turn: PlanTurn) -> bool:
        return self.policy.after_first_plan(len(turn.prompts), len(turn.ids)) is Mode.SEQUENTIAL

    async def _plan(self, number: int, group: asyncio.TaskGroup) -> tuple[PlanTurn, Executions]:
        """The plan that counts, and its executions under way in `group`. A plan beyond its gate is made again."""
        last = number == self.options.max_rounds
        self.emit(RoundStarted(number))
        if last:
            self._write(tags.FINAL_OPEN)
            self._show(Part.FINAL, number, tags.FINAL_OPEN)
        for attempt in range(1, self.options.attempts + 1):
            turn, executions = await self._one_plan(number, group, attempt, last)
            length = len(turn.ids)
            gate = self.options.plan_gate_tokens or length
            if attempt == self.options.attempts or length <= gate or self.calls.room(self.context) < 1:
                break
            await executions.cancel()
            self.ledger.num_retries += 1
            self.ledger.discarded_tokens += length
            self.ledger.path_tokens += length
            self.emit(Discarded(number))
        self._tell_plan(number, turn)
        return turn, executions

    async def _one_plan(
        self, number: int, group: asyncio.TaskGroup, attempt: int, last: bool
    ) -> tuple[PlanTurn, Executions]:
        turn = PlanTurn(self.tokenizer, final=last)
        models = (self.planner, self.executor)
        executions = Executions(number, *models, self.tokenizer, self.calls, self.width, self.emit)

        def shown(part: Part, text: str) -> None:
            self._show(part, number, text)
            if self.options.starts_early and len(turn.prompts) > len(executions):
                executions.dispatch(group, self.context, turn)

        call = self.ledger.open_call(turn.part, number, 0, len(self.context))
        stop = (tags.closing(tags.TagKind.PLAN, number), tags.FINAL_CLOSE.strip(), tags.THINK_CLOSE.strip())
        sampling = self.calls.sampling(self.options.max_plan_tokens, self.context, stop, (number, 0), attempt)
        await self.calls.stream(self.planner, list(self.context), sampling, turn, call, shown)
        call.part = turn.part
        self.ledger.close_call(call, turn.outcome)
        executions.dispatch(group, self.context, turn)
        return turn, executions

    def _tell_plan(self, number: int, turn: PlanTurn) -> None:
        if not self.calls.watched:
            return
        opening = tags.FINAL_OPEN if number == self.options.max_rounds else ""  # which the runtime wrote
        text = opening + self.tokenizer.decode(turn.ids)
        self.emit(PlanEnded(number, turn.outcome, len(turn.prompts), len(turn.ids), text))

    def _join(self, number: int, turn: PlanTurn, results: list[Result], made: Executions) -> None:
        """Put the executions into the context, in prompt order, as the ids that were sampled."""
        before = len(self.context)
        if not turn.closed:
            self._write(render.plan_closing(number))
        if not results:
            self._write(render.nothing_to_execute(number))
        for k, result in enumerate(results, 1):
            self._write(render.execution_opening(number, k))
            self._join_one(number, k, result)
        if results:
            self._write(render.executions_closing(number))
        executions = tuple(Execution(r.text or _DEEDLESS.get(r.outcome, ""), r.outcome) for r in results)
        self.rounds.append(Round(turn.body, executions))
        lengths = tuple(result.path_tokens for result in results)
        ends = tuple(prompt.end for prompt in turn.prompts)
        self.ledger.rounds.append(RoundCounts(len(turn.ids), ends, lengths, tuple(made.starts)))
        if not made.carried:  # what was carried on stands in the planner's own sequence already
            self.ledger.join_prefill_tokens += sum(len(result.ids or ()) for result in results)
        if self.calls.watched:
            self.emit(RoundJoined(number, len(results), self.tokenizer.decode(self.context[before:])))

    def _join_one(self, number: int, k: int, result: Result) -> None:
        if result.ids is None:
            self._write(_DEEDLESS[result.outcome])
        else:
            # In the authors' view every execution is written as the first of its round, so its closing tag is wrong.
            keeps_ids = self.options.view is View.PREFIX or k == 1
            ids = result.ids if keeps_ids else self.tokenizer.encode(result.text)
            self.context += ids
            if result.closed and keeps_ids:
                return
        self._write(render.execution_closing(number, k))

    def _answered(self, turn: PlanTurn) -> StopReason:
        self.final = turn.body
        self.ledger.final_tokens += len(turn.ids)
        reasons = {
            PlanOutcome.FINAL: StopReason.ANSWERED,
            PlanOutcome.TRUNCATED: StopReason.TOKEN_LIMIT,
            PlanOutcome.RUNAWAY: StopReason.RUNAWAY,
        }
        return reasons.get(turn.outcome, StopReason.ENDED)

    # --- in one breath -----------------------------------------------------------------------------------------------

    async def _in_one_breath(self) -> StopReason:
        """Everything that is left, in one call."""
        call = self.ledger.open_call(Part.SEQUENTIAL, 0, 0, len(self.context))
        turn = FreeTurn(self.tokenizer)
        sampling = self.calls.sampling(self.options.max_tokens, self.context, (), (0, 0))
        if sampling.max_tokens < 1:
            return self._no_room()

        def shown(part: Part, text: str) -> None:
            self._show(part, 0, text)

        reason = await self.calls.stream(self.planner, self.context[:], sampling, turn, call, shown)
        self.context += turn.ids
        self.ledger.close_call(call, reason or "")
        self.ledger.final_tokens += len(turn.ids)
        self.final = answer_in(turn.body)
        if turn.ran_away:
            return StopReason.RUNAWAY
        if reason is not FinishReason.LENGTH:
            return StopReason.ANSWERED if self.final else StopReason.ENDED
        return self._no_room()

    # --- what both share ---------------------------------------------------------------------------------------------

    def _no_room(self) -> StopReason:
        return StopReason.TOKEN_LIMIT if self.calls.budget() < 1 else StopReason.CONTEXT_FULL

    def _write(self, text: str) -> None:
        """Text of the runtime's own: it costs no sampling and carries no loss in training."""
        ids = self.tokenizer.encode(text)
        self.context += ids
        self.ledger.runtime_tokens += len(ids)

    def _show(self, part: Part, round: int, text: str) -> None:
        if text and self.calls.watched:
            self.emit(Delta(part, round, 0, text))

    def _finished(self, reason: StopReason) -> Rollout:
        written = self.tokenizer.decode(self.context[len(self.prompt_ids) :])
        usage = self.ledger.usage(None, sequential=self.sequential)  # first: what follows is on nobody's clock
        closes = reason is StopReason.ANSWERED and not self.sequential and "</think>" not in written
        text = tags.THINK_OPEN + written + (tags.THINK_CLOSE if closes else "")
        return Rollout(
            self.question,
            text,
            self.final,
            None if self.sequential else Trajectory(tuple(self.rounds), self.final),
            replace(usage, code_sequential_tokens=self._counted_as_published(text)),
            reason,
            self.prompt_ids,
            tuple(self.context),
            self.ledger.timeline(),
            self.detail,
            self.failure,
        )

    def _counted_as_published(self, text: str) -> int | None:
        if self.sequential:
            return self.ledger.generated_tokens
        if not self.options.count_as_published:
            return None
        counts = published_counts(text, self.tokenizer.encode)
        return counts.code_formula if counts and counts.countable else None


@asynccontextmanager
async def _children() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what its body raised, not a group of it (executions never raise what they expect)."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
