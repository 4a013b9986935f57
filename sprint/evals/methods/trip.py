"""One answer's calls on the clock: in turn or beside each other, each recorded, and what they add up to.

It knows calls and counters, and not what the calls are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sprint.answers import last_boxed
from sprint.evals.asking import Answer, Asker, Call
from sprint.usage import Usage


class Trip:
    """What one answer takes: stages that follow each other, each of one call or of several at once."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._began = asker.now()
        self._stages: list[list[Answer]] = []
        self._spans: list[dict[str, Any]] = []
        self._executing_s = 0.0

    async def ask(self, call: Call) -> Answer:
        """A stage of one call."""
        return (await self._stage([call]))[0]

    async def ask_all(self, calls: Sequence[Call]) -> list[Answer]:
        """A stage of calls that run beside each other. When one fails, the others are cancelled and it raises."""
        began = self._asker.now()
        answers = await self._stage(calls)
        self._executing_s += self._asker.now() - began
        return answers

    async def _stage(self, calls: Sequence[Call]) -> list[Answer]:
        first, self._spans = len(self._spans), [*self._spans, *({} for _ in calls)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._timed(call, first + place)) for place, call in enumerate(calls)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        answers = [task.result() for task in tasks]
        self._stages.append(answers)
        return answers

    async def _timed(self, call: Call, place: int) -> Answer:
        began = self._asker.now() - self._began
        answer = await self._asker.ask(call)
        self._spans[place] = _span(call, answer, began, self._asker.now() - self._began)
        return answer

    @property
    def calls(self) -> tuple[Mapping[str, Any], ...]:
        """Every call in the words of a timeline, with the tokens that were waited for and the boxed answer."""
        return tuple(self._spans)

    @property
    def wall_s(self) -> float:
        return self._asker.now() - self._began

    def usage(self, num_rounds: int, num_executions: int) -> Usage:
        """What the stages used: of calls beside each other one waits for the longest, and stages follow each other."""
        wall_s = self.wall_s
        total = sum((answer.usage for stage in self._stages for answer in stage), Usage())
        return replace(
            total,
            paper_sequential_tokens=None,
            code_sequential_tokens=None,
            pipelined_tokens=sum(max(each.usage.pipelined_tokens for each in stage) for stage in self._stages),
            barrier_tokens=sum(max(each.usage.barrier_tokens for each in stage) for stage in self._stages),
            join_prefill_tokens=None if num_rounds else 0,
            num_rounds=num_rounds,
            num_executions=num_executions,
            wall_s=wall_s,
            planning_s=wall_s - self._executing_s,
            executing_s=self._executing_s,
            waiting_s=self._executing_s,
        )


def _span(call: Call, answer: Answer, start_s: float, end_s: float) -> dict[str, Any]:
    usage = answer.usage
    return {
        "kind": call.kind,
        "round": 0 if call.kind == "final" else 1,
        "number": call.number,
        "start_s": start_s,
        "first_token_s": None,
        "end_s": end_s,
        "generated_tokens": usage.generated_tokens,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_prompt_tokens,
        "outcome": answer.stop_reason,
        "seed": call.seed,
        "waited_tokens": usage.pipelined_tokens,
        "answer": last_boxed(answer.text) or "",
    }
