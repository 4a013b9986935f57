"""The planner/executor loop: the heart of inference (paper §3.1).

    the planner streams; each time a prompt closes an executor starts; results join in prompt order; the planner goes on

The context is a list of token ids that only grows: what a model wrote is never tokenised again, and every executor's
context is a prefix of the planner's own ids plus a short header, so the engine's prefix cache serves it. The loop knows
no server, no clock but the ledger's, and no tag but through `render` and `turn`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from sprint import render, tags
from sprint.card import Method
from sprint.errors import ContextOverflow, LLMError
from sprint.events import Delta, Event, ExecutionFinished, ExecutionStarted, Finished, Part, RoundJoined
from sprint.ledger import CallRecord, Ledger
from sprint.llm import LLM, FinishReason, Sampling
from sprint.options import Dispatch, EngineOptions, Mode
from sprint.published import published_counts
from sprint.render import Prompter
from sprint.tokenizer import IncrementalDecoder
from sprint.turn import ExecutionTurn, PlanTurn, Prompt, Turn
from sprint.types import (
    Execution,
    ExecutionOutcome,
    PlanOutcome,
    Rollout,
    Round,
    StopReason,
    Trajectory,
)
from sprint.usage import RoundCounts

_DEEDLESS = {  # outcomes whose text is not used: a short marker is joined instead, so that the planner knows
    ExecutionOutcome.FAILED: "[This execution failed.]",
    ExecutionOutcome.TIMED_OUT: "[This execution took too long.]",
    ExecutionOutcome.SKIPPED: "[This prompt was not executed: too many prompts in one plan.]",
    ExecutionOutcome.NO_ROOM: "[This execution did not fit the context.]",
}
_EXECUTION_CHUNK_TOKENS = 16  # nobody waits for an execution's single tokens, so they may travel together


class Engine:
    """Answers questions with a planner and executors (roles: both may be one model).

    context_tokens  the context window of the smaller of the two
    """

    def __init__(self, planner: LLM, executor: LLM, prompter: Prompter, context_tokens: int) -> None:
        self.planner = planner
        self.executor = executor
        self.prompter = prompter
        self.context_tokens = context_tokens

    async def run(self, question: str, options: EngineOptions | None = None, *, session: str = "") -> Rollout:
        """The finished rollout. Always ends with an answer or a stop reason; cancelling it cancels its calls."""
        async with aclosing(self.events(question, options, session=session)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.rollout
        raise AssertionError("a rollout ended without its last event")

    async def events(
        self, question: str, options: EngineOptions | None = None, *, session: str = ""
    ) -> AsyncGenerator[Event, None]:
        """The rollout as it happens; the last event is `Finished`. Closing the generator cancels the rollout."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        rollout = _Rollout(self, question, options or EngineOptions(), session, queue.put_nowait)
        task = asyncio.create_task(rollout.drive())
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield Finished(await task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Result:
    """An execution that is over: the sampled ids to join (None: join a marker), and whether its tag is among them."""

    text: str
    outcome: ExecutionOutcome
    ids: Sequence[int] | None = None
    closed: bool = False


class _Rollout:
    """One question being answered. State of the loop; lives as long as the rollout."""

    def __init__(
        self, engine: Engine, question: str, options: EngineOptions, session: str, emit: Callable[[Event], None]
    ) -> None:
        self.engine = engine
        self.tokenizer = engine.prompter.tokenizer
        self.question = question
        self.options = options
        self.session = session or f"{random.getrandbits(64):016x}"
        self.emit = emit
        self.ledger = Ledger()
        self.prompt_ids = engine.prompter.question_ids(question)
        self.context: list[int] = list(self.prompt_ids)
        self.rounds: list[Round] = []
        self.final = ""
        self.detail = ""
        self.width = asyncio.Semaphore(options.max_concurrency)

    async def drive(self) -> Rollout:
        mode = self.options.mode
        taught = Mode.PARALLEL if self.engine.prompter.card.method is Method.SPRINT else Mode.SEQUENTIAL
        self.sequential = (taught if mode is Mode.AUTO else mode) is Mode.SEQUENTIAL
        try:
            async with asyncio.timeout(self.options.time_limit_s):
                reason = await (self._sequential() if self.sequential else self._in_rounds())
        except TimeoutError:
            reason = StopReason.TIME_LIMIT
        except ContextOverflow as error:
            reason, self.detail = StopReason.CONTEXT_FULL, str(error)
        except LLMError as error:
            reason, self.detail = StopReason.FAILED, str(error)
        return self._finished(reason)

    # --- in rounds ---------------------------------------------------------------------------------------------------

    async def _in_rounds(self) -> StopReason:
        for number in range(1, self.options.max_rounds + 1):
            if self._room() < 1:
                return StopReason.TOKEN_LIMIT if self._budget() < 1 else StopReason.CONTEXT_FULL
            async with _children() as group:
                turn, tasks = await self._plan(number, group)
            self.context += turn.ids
            if turn.part is Part.FINAL:
                return self._answered(turn)
            if turn.outcome is PlanOutcome.ENDED and not turn.prompts:
                self.rounds.append(Round(turn.body))
                self.ledger.rounds.append(RoundCounts(len(turn.ids)))
                return StopReason.ENDED
            self._join(number, turn, [task.result() for task in tasks])
        raise AssertionError("the last round always ends with a final answer")

    async def _plan(self, number: int, group: asyncio.TaskGroup) -> tuple[PlanTurn, list[asyncio.Task[_Result]]]:
        """One planner turn. Its executors start in `group`, as prompts close or all at the end."""
        last = number == self.options.max_rounds
        if last:
            self._write(tags.FINAL_OPEN)
            self._show(Part.FINAL, number, 0, tags.FINAL_OPEN)
        turn = PlanTurn(self.tokenizer, final=last)
        tasks: list[asyncio.Task[_Result]] = []

        def dispatch() -> None:
            for prompt in turn.prompts[len(tasks) :]:
                view = self.context + list(turn.ids[: prompt.end])
                self.emit(ExecutionStarted(number, prompt.number, prompt.instruction))
                tasks.append(group.create_task(self._execute(number, prompt, view)))

        def after_token(text: str) -> None:
            self._show(turn.part, number, 0, text)
            if self.options.dispatch is Dispatch.PIPELINED:
                dispatch()

        call = self.ledger.open_call(turn.part, number, 0, len(self.context))
        stop = (tags.closing(tags.TagKind.PLAN, number), tags.FINAL_CLOSE.strip(), tags.THINK_CLOSE.strip())
        sampling = self._sampling(self.options.max_plan_tokens, len(self.context), stop, number, 0)
        await self._sample(self.engine.planner, list(self.context), sampling, turn, call, after_token)
        call.part = turn.part
        self.ledger.close_call(call, turn.outcome)
        dispatch()
        return turn, tasks

    async def _execute(self, number: int, prompt: Prompt, view: list[int]) -> _Result:
        """One execution, whatever happens to it."""
        if prompt.number > self.options.max_prompts:
            return self._executed(number, prompt, _Result("", ExecutionOutcome.SKIPPED), 0)
        header = self.tokenizer.encode(render.branch_opening(number, prompt.number))
        self.ledger.runtime_tokens += len(header)
        async with self.width:
            call = self.ledger.open_call(Part.EXECUTION, number, prompt.number, len(view) + len(header))
            result = await self._call_executor(number, prompt, view + header, call)
        self.ledger.close_call(call, result.outcome)
        return self._executed(number, prompt, result, call.generated_tokens)

    async def _call_executor(self, number: int, prompt: Prompt, context: list[int], call: CallRecord) -> _Result:
        turn = ExecutionTurn(self.tokenizer)
        stop = (tags.closing(tags.TagKind.EXECUTION, number, prompt.number), tags.THINK_CLOSE.strip())
        sampling = self._sampling(self.options.max_execution_tokens, len(context), stop, number, prompt.number)
        if sampling.max_tokens < 1:
            return _Result("", ExecutionOutcome.NO_ROOM)
        sampling = replace(sampling, chunk_tokens=_EXECUTION_CHUNK_TOKENS)
        try:
            async with asyncio.timeout(self.options.execution_timeout_s):
                await self._sample(
                    self.engine.executor,
                    context,
                    sampling,
                    turn,
                    call,
                    lambda text: self._show(Part.EXECUTION, number, prompt.number, text),
                )
        except ContextOverflow:
            return _Result("", ExecutionOutcome.NO_ROOM)
        except TimeoutError:
            return _Result("", ExecutionOutcome.TIMED_OUT)
        except LLMError as error:
            self.detail = self.detail or str(error)
            return _Result("", ExecutionOutcome.FAILED)
        return _Result(turn.body, turn.outcome, tuple(turn.ids), turn.closed)

    def _executed(self, number: int, prompt: Prompt, result: _Result, generated_tokens: int) -> _Result:
        self.emit(ExecutionFinished(number, prompt.number, result.outcome, generated_tokens))
        return result

    def _join(self, number: int, turn: PlanTurn, results: list[_Result]) -> None:
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
        lengths = tuple(len(r.ids or ()) for r in results)
        ends = tuple(prompt.end for prompt in turn.prompts)
        self.ledger.rounds.append(RoundCounts(len(turn.ids), ends, lengths))
        self.emit(RoundJoined(number, len(results), self.tokenizer.decode(self.context[before:])))

    def _join_one(self, number: int, k: int, result: _Result) -> None:
        if result.ids is None:
            self._write(_DEEDLESS[result.outcome])
        else:
            self.context += result.ids
            self.ledger.join_prefill_tokens += len(result.ids)
        if not result.closed:
            self._write(render.execution_closing(number, k))

    def _answered(self, turn: PlanTurn) -> StopReason:
        self.final = turn.body
        self.ledger.final_tokens = len(turn.ids)
        if turn.outcome is PlanOutcome.FINAL:
            return StopReason.ANSWERED
        return StopReason.TOKEN_LIMIT if turn.outcome is PlanOutcome.TRUNCATED else StopReason.ENDED

    # --- in one breath -----------------------------------------------------------------------------------------------

    async def _sequential(self) -> StopReason:
        call = self.ledger.open_call(Part.SEQUENTIAL, 0, 0, len(self.context))
        turn = _FreeTurn(self)
        sampling = self._sampling(self.options.max_tokens, len(self.context), (), 0, 0)
        if sampling.max_tokens < 1:
            return StopReason.CONTEXT_FULL
        reason = await self._sample(
            self.engine.planner,
            self.context[:],
            sampling,
            turn,
            call,
            lambda text: self._show(Part.SEQUENTIAL, 0, 0, text),
        )
        self.context += turn.ids
        self.ledger.close_call(call, reason or "")
        self.final = _answer_in(turn.body)
        if reason is not FinishReason.LENGTH:
            return StopReason.ANSWERED if self.final else StopReason.ENDED
        return StopReason.TOKEN_LIMIT if self._budget() < 1 else StopReason.CONTEXT_FULL

    # --- what both share ---------------------------------------------------------------------------------------------

    async def _sample(
        self,
        llm: LLM,
        context: list[int],
        sampling: Sampling,
        turn: Turn,
        call: CallRecord,
        after_token: Callable[[str], None],
    ) -> FinishReason | None:
        """Stream one call into `turn`, token by token, until the turn or the call is over."""
        reason: FinishReason | None = None
        async with aclosing(llm.stream(context, sampling, session=self.session)) as chunks:
            async for chunk in chunks:
                self.ledger.sampled(call, len(chunk.token_ids), chunk.cached_tokens)
                reason = chunk.finish_reason
                kept = chunk.token_ids[:-1] if reason is FinishReason.EOS else chunk.token_ids
                for token_id in kept:
                    after_token(turn.feed(token_id))
                    if turn.over:
                        break
                if turn.over:
                    break
        after_token(turn.finish(reason))
        return reason

    def _sampling(
        self, max_tokens: int, context_tokens: int, stop: tuple[str, ...], round: int, number: int
    ) -> Sampling:
        options = self.options
        seed = None if options.seed is None else random.Random(f"{options.seed}/{round}/{number}").getrandbits(31)
        room = min(max_tokens, self._budget(), self.engine.context_tokens - context_tokens)
        return Sampling(room, options.temperature, options.top_p, stop, seed)

    def _budget(self) -> int:
        return self.options.max_tokens - self.ledger.generated_tokens

    def _room(self) -> int:
        return min(self._budget(), self.engine.context_tokens - len(self.context))

    def _write(self, text: str) -> None:
        """Text of the runtime's own: it costs no sampling and carries no loss in training."""
        ids = self.tokenizer.encode(text)
        self.context += ids
        self.ledger.runtime_tokens += len(ids)

    def _show(self, part: Part, round: int, number: int, text: str) -> None:
        if text:
            self.emit(Delta(part, round, number, text))

    def _finished(self, reason: StopReason) -> Rollout:
        written = self.tokenizer.decode(self.context[len(self.prompt_ids) :])
        answered_in_rounds = reason is StopReason.ANSWERED and not self.sequential
        text = tags.THINK_OPEN + written + (tags.THINK_CLOSE if answered_in_rounds else "")
        counts = None if self.sequential else published_counts(text, self.tokenizer.encode)
        code_tokens = counts.code_formula if counts and counts.countable else None
        if self.sequential:
            code_tokens = self.ledger.generated_tokens
        return Rollout(
            self.question,
            text,
            self.final,
            None if self.sequential else Trajectory(tuple(self.rounds), self.final),
            self.ledger.usage(code_tokens, sequential=self.sequential),
            reason,
            self.prompt_ids,
            tuple(self.context),
            self.ledger.timeline(),
            self.detail,
        )


@asynccontextmanager
async def _children() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what its body raised, not a group of it (executions never raise what they expect)."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class _FreeTurn(Turn):
    """A sequential answer: every token is kept and nothing in it is a tag to us."""

    def __init__(self, rollout: _Rollout) -> None:
        super().__init__(rollout.tokenizer)
        self._decoder = IncrementalDecoder(rollout.tokenizer)

    def feed(self, token_id: int) -> str:
        (piece,) = self._decoder.feed([token_id])
        self.ids.append(token_id)
        self._body.append(piece)
        return piece

    def _ended(self, reason: FinishReason | None) -> None:
        self.over = True


def _answer_in(text: str) -> str:
    """The answer part of a sequential text: what follows the think block, or else its last boxed paragraph."""
    after = text.rpartition("</think>")[2].strip() if "</think>" in text else ""
    if after:
        return after
    lines = [line.strip() for line in text.replace("</think>", "").splitlines() if line.strip()]
    boxed = [line for line in lines if "\\boxed" in line]
    return (boxed or lines or [""])[-1]
