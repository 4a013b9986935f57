"""The arms of the engine benchmark: ways to have one engine sample the same tokens.

    ours          the product's loop
    carried       the same with `carry_on`: the execution of a plan with one prompt goes on in the planner's sequence
    theirs        the authors' loop shape: barrier, whole-plan view, one call after the other
    theirs_apart  the same with a prefix cache for the planner and another for the executors, as the authors run two
                  servers (the cores stay shared, so only its prompt tokens are theirs, not its seconds)
    oracle        knows every length and every prompt beforehand, and asks as early as its dependencies allow
    sequential    one call, as long as a sequential model's
    whole_plan    the product's loop in the authors' view (not run unless asked for)

Where a rule had to be chosen it favours the others: `theirs` pays no HTTP, no parsing and no second tokenisation, runs
any number of executors at once and never retries; `oracle` has nothing decoded to text.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from benchmarks.forced import FORCED_KEY, GREEDY, Call, ForcedLLM, ForcedServer, Log
from benchmarks.trajectories import Answer, Contexts, Ids
from serve_app.pools.vllm_server import vllm_params
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.options import EngineOptions, Mode, View
from sprint.render import Prompter
from sprint.tokenizer import HFTokenizer
from sprint.types import StopReason

_LIMIT = 1 << 30
_LONE_TOKENS = 96
_HOPS = 6


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    server: ForcedServer
    tokenizer: HFTokenizer
    context_tokens: int
    block_tokens: int

    @property
    def prompter(self) -> Prompter:
        return Prompter(self.tokenizer, ModelCard(Method.SPRINT, Instruction.NONE))

    def contexts(self, answer: Answer) -> Contexts:
        return Contexts(answer, self.prompter.question_ids(answer.question), self.tokenizer)


Arm = Callable[[Bench, Answer, Contexts], Awaitable[Log]]


@dataclass(frozen=True, slots=True)
class Run:
    """One arm's rollout: its calls and its seconds. `cpu_s` is this process's own, the engine's process excluded."""

    log: Log
    start_s: float
    end_s: float
    cpu_s: float

    @property
    def wall_s(self) -> float:
        return self.end_s - self.start_s


async def timed(arm: Arm, bench: Bench, answer: Answer, contexts: Contexts) -> Run:
    """Run one arm on an empty prefix cache."""
    await bench.server.forget()
    gc.collect()
    cpu, start = time.process_time(), time.perf_counter()
    log = await arm(bench, answer, contexts)
    return Run(log, start, time.perf_counter(), time.process_time() - cpu)


# --- ours, and sequential --------------------------------------------------------------------------------------------


async def ours(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    options = EngineOptions(Mode.PARALLEL, max_rounds=len(answer.rounds) + 2, temperature=0.0)
    return await _by_engine(bench, answer, options, contexts.whole)


async def carried(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    options = EngineOptions(Mode.PARALLEL, carry_on=True, max_rounds=len(answer.rounds) + 2, temperature=0.0)
    return await _by_engine(bench, answer, options, contexts.whole)


async def whole_plan(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    options = EngineOptions(Mode.PARALLEL, view=View.WHOLE_PLAN, max_rounds=len(answer.rounds) + 2, temperature=0.0)
    return await _by_engine(bench, answer, options, contexts.whole)


async def sequential(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    whole = contexts.planner[0] + answer.sequential
    return await _by_engine(bench, answer, EngineOptions(Mode.SEQUENTIAL, temperature=0.0), whole)


async def _by_engine(bench: Bench, answer: Answer, options: EngineOptions, expected: Ids) -> Log:
    llm = ForcedLLM(bench.server, bench.tokenizer, answer, sequential=options.mode is Mode.SEQUENTIAL)
    engine = Engine(llm, llm, bench.prompter, bench.context_tokens)
    limits = {"max_tokens": _LIMIT, "max_plan_tokens": _LIMIT, "max_execution_tokens": _LIMIT}
    rollout = await engine.run(answer.question, replace(options, **limits))  # type: ignore[arg-type]
    if rollout.stop_reason is not StopReason.ANSWERED or rollout.token_ids != expected:
        raise AssertionError(f"{answer.id}: the rollout is not the recorded one ({rollout.stop_reason})")
    return llm.log


# --- theirs ----------------------------------------------------------------------------------------------------------


async def theirs(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    return await _their_loop(bench, answer, contexts, caches=("", ""))


async def theirs_apart(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    return await _their_loop(bench, answer, contexts, caches=("planner", "executor"))


async def _their_loop(bench: Bench, answer: Answer, contexts: Contexts, caches: tuple[str, str]) -> Log:
    log, (planner, executor) = Log(), caches
    for number, spoken in enumerate(answer.rounds, 1):
        await _drained(_raw(bench, log.open("plan", contexts.planner[number - 1], spoken.plan, planner)))
        calls = zip(contexts.whole_plan_views[number - 1], spoken.executions, strict=True)
        opened = [log.open("execution", view, said, executor) for view, said in calls]
        await asyncio.gather(*(_drained(_raw(bench, call)) for call in opened))
    await _drained(_raw(bench, log.open("final", contexts.planner[-1], answer.final, planner)))
    return log


# --- the oracle ------------------------------------------------------------------------------------------------------


async def oracle(bench: Bench, answer: Answer, contexts: Contexts) -> Log:
    log = Log()
    for number, spoken in enumerate(answer.rounds, 1):
        views = contexts.prefix_views[number - 1]
        waiting = deque(zip(spoken.counts.prefix_tokens, views, spoken.executions, strict=True))
        async with asyncio.TaskGroup() as executing:
            plan = log.open("plan", contexts.planner[number - 1], spoken.plan)
            async for sampled in _raw(bench, plan, text=False):
                while waiting and waiting[0][0] <= sampled:
                    _, view, said = waiting.popleft()
                    executing.create_task(_drained(_raw(bench, log.open("execution", view, said), text=False)))
    await _drained(_raw(bench, log.open("final", contexts.planner[-1], answer.final), text=False))
    return log


# --- straight to the engine ------------------------------------------------------------------------------------------


async def _raw(bench: Bench, call: Call, text: bool = True) -> AsyncGenerator[int, None]:
    """Make a call. Gives how many tokens have been sampled, whenever there are more. `text`: have them decoded too."""
    params = vllm_params(replace(GREEDY, max_tokens=len(call.said)), {FORCED_KEY: list(call.said)})
    params.detokenize = text
    prompt: dict[str, Any] = {"prompt_token_ids": list(call.prompt_ids)}
    if call.cache:
        prompt["cache_salt"] = call.cache
    async for output in bench.server.engine.generate(prompt, params, uuid4().hex):
        call.took(output.outputs[0].token_ids, output.num_cached_tokens)
        yield call.sampled


async def _drained(stream: AsyncGenerator[int, None]) -> None:
    async for _ in stream:
        pass


# --- what one token costs --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one decode step of a lone sequence, and of calls that continue a cached context by one token."""

    step_s: float
    hops_s: tuple[float, ...]


async def costs(bench: Bench, contexts: Contexts) -> Costs:
    """Measured in the middle of an answer's whole context."""
    await bench.server.forget()
    middle = len(contexts.whole) // 2
    tokens = min(_LONE_TOKENS, len(contexts.whole) - middle - _HOPS)
    log = Log()
    await _drained(_raw(bench, log.open("lone", contexts.whole[:middle], contexts.whole[middle : middle + tokens])))
    for end in range(middle + tokens, middle + tokens + _HOPS):
        await _drained(_raw(bench, log.open("hop", contexts.whole[:end], contexts.whole[end : end + 1])))
    lone, *hops = log.calls
    step_s = (lone.end_s - lone.first_s) / (tokens - 1)
    return Costs(step_s, tuple(call.end_s - call.submitted_s for call in hops))
