"""The executions of one round: started as prompts close, watched, and handed back in prompt order.

It knows how an execution is asked for again, hedged, timed out or left out, and never raises what it expects: whatever
happens to an execution is an outcome. It does not know when prompts close, nor what becomes of the results.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sprint.calls import Calls, Show
from sprint.errors import ContextOverflow, LLMError
from sprint.events import Delta, Event, ExecutionFinished, ExecutionStarted, Part
from sprint.llm import LLM
from sprint.tags import THINK_CLOSE
from sprint.tokenizer import Tokenizer
from sprint.turn import ExecutionTurn, PlanTurn, Prompt
from sprint.types import ExecutionOutcome
from sprint.views import carried_on, executor_context, stop_string

_CHUNK_TOKENS = 16  # nobody waits for an execution's single tokens, so they may travel together


@dataclass(frozen=True, slots=True)
class Result:
    """An execution that is over: the sampled ids to join (None: join a marker), and whether its tag is among them.

    path_tokens  what was sampled one after the other until it was there, attempts that were thrown away included
    """

    text: str
    outcome: ExecutionOutcome
    ids: Sequence[int] | None = None
    closed: bool = False
    path_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for a prompt, and of whom. `header_tokens`: how many of the context's ids only an executor has."""

    prompt: Prompt
    context: list[int]
    header_tokens: int
    llm: LLM


class Executions:
    """Runs the executions of round `number` in the caller's task group, each as soon as it is dispatched.

    carried  whether the only one goes on in the planner's own sequence
    starts   for each, how many tokens of the plan were there when it began
    """

    def __init__(
        self,
        number: int,
        planner: LLM,
        executor: LLM,
        tokenizer: Tokenizer,
        calls: Calls,
        width: asyncio.Semaphore,
        emit: Callable[[Event], None],
    ) -> None:
        self.number = number
        self.detail = ""  # what went wrong first
        self.carried = False
        self.starts: list[int] = []
        self._planner, self._executor, self._tokenizer = planner, executor, tokenizer
        self._calls, self._width, self._emit = calls, width, emit
        self._tasks: list[asyncio.Task[Result]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def dispatch(self, group: asyncio.TaskGroup, context: Sequence[int], turn: PlanTurn) -> None:
        """Starts an executor for every prompt of the plan that has none yet, and for which it need not wait."""
        waits = self._calls.options.carry_on and len(turn.prompts) == 1 and not self._tasks
        if waits and not turn.over and not turn.asking:
            return  # it may be the only one
        self.carried = self.carried or (waits and turn.over)
        for prompt in turn.prompts[len(self._tasks) :]:
            self._emit(ExecutionStarted(self.number, prompt.number, prompt.instruction))
            self.starts.append(len(turn.ids) if waits else prompt.end)
            self._tasks.append(group.create_task(self._execute(self._asked(context, turn, prompt))))

    def _asked(self, context: Sequence[int], turn: PlanTurn, prompt: Prompt) -> _Asked:
        if self.carried:
            return _Asked(prompt, carried_on(self._tokenizer, context, turn, self.number), 0, self._planner)
        view = self._calls.options.view
        ids, header = executor_context(view, self._tokenizer, context, turn, self.number, prompt)
        return _Asked(prompt, ids, header, self._executor)

    async def results(self) -> list[Result]:
        """All results in prompt order; with a quorum, those that are not in by then are cancelled and marked."""
        quorum = self._calls.options.quorum
        if quorum is not None and self._tasks:
            await self._wait_for(math.ceil(quorum * len(self._tasks)))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return [self._result(task, k) for k, task in enumerate(self._tasks, 1)]

    async def cancel(self) -> None:
        """Ends all executions; what they sampled is thrown away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if not task.cancelled():
                self._discard(len(task.result().ids or ()))

    async def _wait_for(self, needed: int) -> None:
        waiting = set(self._tasks)
        while len(self._tasks) - len(waiting) < needed:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def _result(self, task: asyncio.Task[Result], k: int) -> Result:
        if task.cancelled():
            return self._over(k, Result("", ExecutionOutcome.LEFT_OUT), 0)
        return task.result()

    # --- one execution -----------------------------------------------------------------------------------------------

    async def _execute(self, asked: _Asked) -> Result:
        """One execution, whatever happens to it."""
        k = asked.prompt.number
        if k > self._calls.options.max_prompts:
            return self._over(k, Result("", ExecutionOutcome.SKIPPED), 0)
        self._calls.ledger.runtime_tokens += asked.header_tokens
        async with self._width:
            result = await self._in_time(asked)
        return self._over(k, result, len(result.ids or ()))

    def _over(self, k: int, result: Result, generated_tokens: int) -> Result:
        self._emit(ExecutionFinished(self.number, k, result.outcome, generated_tokens))
        return result

    async def _in_time(self, asked: _Asked) -> Result:
        try:
            async with asyncio.timeout(self._calls.options.execution_timeout_s):
                return await self._until_short_enough(asked)
        except ContextOverflow:
            return Result("", ExecutionOutcome.NO_ROOM)
        except LLMError as error:  # the engine's own timeout among them, so before the execution's
            self.detail = self.detail or str(error)
            return Result("", ExecutionOutcome.FAILED)
        except TimeoutError:
            return Result("", ExecutionOutcome.TIMED_OUT)

    async def _until_short_enough(self, asked: _Asked) -> Result:
        """Asks again while the text is longer than its gate and attempts are left (the authors' loop)."""
        options, wasted = self._calls.options, 0
        result = await self._hedged(asked, 1)
        for attempt in range(2, options.attempts + 1):
            length = len(result.ids or ())
            if length <= (options.execution_gate_tokens or length) or self._calls.room(asked.context) < 1:
                break
            wasted += length
            self._calls.ledger.num_retries += 1
            self._discard(length)
            result = await self._hedged(asked, attempt)
        return replace(result, path_tokens=result.path_tokens + wasted)

    async def _hedged(self, asked: _Asked, attempt: int) -> Result:
        """Asks; where that takes too long, asks once more under another session, and takes what comes first."""
        after_s = self._calls.options.hedge_after_s
        if after_s is None:
            return await self._ask(asked, attempt, self._calls.session)
        calls = [asyncio.ensure_future(self._ask(asked, attempt, self._calls.session))]
        try:
            done, _ = await asyncio.wait(calls, timeout=after_s)
            if not done:
                self._calls.ledger.num_hedges += 1
                other = f"{self._calls.session}~{self.number}.{asked.prompt.number}"
                calls.append(asyncio.ensure_future(self._ask(asked, attempt, other, shown=False)))
            return await _first_good(calls)
        finally:
            await _end(calls)

    async def _ask(self, asked: _Asked, attempt: int, session: str, *, shown: bool = True) -> Result:
        options, place, context = self._calls.options, (self.number, asked.prompt.number), asked.context
        stop = (stop_string(options.view, *place), THINK_CLOSE.strip())
        sampling = self._calls.sampling(options.max_execution_tokens, context, stop, place, attempt)
        if sampling.max_tokens < 1:
            return Result("", ExecutionOutcome.NO_ROOM)
        turn = ExecutionTurn(self._tokenizer)
        call = self._calls.ledger.open_call(Part.EXECUTION, *place, len(context))
        outcome = ExecutionOutcome.FAILED
        try:
            show = self._shower(asked.prompt.number) if shown else _hide
            together = replace(sampling, chunk_tokens=_CHUNK_TOKENS)
            await self._calls.stream(asked.llm, context, together, turn, call, show, session)
            outcome = turn.outcome
        except asyncio.CancelledError:
            outcome = ExecutionOutcome.CANCELLED
            self._discard(call.generated_tokens)
            raise
        finally:
            self._calls.ledger.close_call(call, outcome)
        return Result(turn.body, turn.outcome, tuple(turn.ids), turn.closed, len(turn.ids))

    def _shower(self, k: int) -> Show:
        def show(part: Part, text: str) -> None:
            if text and self._calls.watched:
                self._emit(Delta(part, self.number, k, text))

        return show

    def _discard(self, tokens: int) -> None:
        self._calls.ledger.discarded_tokens += tokens


def _hide(part: Part, text: str) -> None:
    """A hedge is not shown: the call that it backs up has been shown already."""


async def _first_good(calls: Sequence[asyncio.Future[Result]]) -> Result:
    """What comes first; where that is an error, the other one."""
    waiting = set(calls)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in done if task.exception() is None]
        if good or not waiting:
            return (good or list(done))[0].result()


async def _end(calls: Sequence[asyncio.Future[Result]]) -> None:
    """Cancels what is still asked for, and waits until it is gone."""
    for task in calls:
        task.cancel()
    for task in calls:
        with suppress(asyncio.CancelledError, LLMError):
            await task
