"""What the simulation takes from measurements: structures of scripted answers, costs of processes, times of steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.service_script import Asked, Call
from benchmarks.simulation.engine import StepTimes
from benchmarks.simulation.options import Costs, ServiceOptions
from benchmarks.simulation.rollout import SENT_TOKENS, Words
from benchmarks.simulation.workload import closed_loop
from benchmarks.structures import Structure
from sprint import render
from sprint.tokenizer import Tokenizer
from sprint.usage import RoundCounts


def structure_of(asked: Asked) -> Structure:
    """The structure of a scripted answer, its tags as they really are."""
    rounds = tuple(
        RoundCounts(plan.tokens, tuple(call.after for call in done), tuple(call.tokens for call in done))
        for plan, done in asked.rounds
    )
    first = asked.rounds[0][0] if asked.rounds else asked.final
    return Structure(asked.question[:20], _prompt_tokens(first), rounds, asked.final.tokens)


def _prompt_tokens(call: Call) -> int:
    return len(json.loads(call.body)["prompt"])


def words_of(tokenizer: Tokenizer) -> Words:
    """What the runtime's words take in a tokenizer."""

    def tokens(text: str) -> int:
        return len(tokenizer.encode(text))

    return Words(
        tokens(render.branch_opening(1, 1)),
        tokens(render.execution_opening(1, 2)),
        tokens(render.executions_closing(1)),
        tokens(render.nothing_to_execute(1)),
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Questions asked by so many clients, and the CPU seconds that the engine used for them."""

    structures: Sequence[Structure]
    clients: int
    engine_cpu_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What processes had to do for some questions."""

    requests: int
    calls: int
    messages: int
    tokens: int


def counts_of(structures: Iterable[Structure]) -> Counts:
    """Calls; messages: a call's first token, the ends of prompts, every 128 tokens, and the last one; tokens."""
    requests = calls = messages = tokens = 0
    for structure in structures:
        requests += 1
        for says, ends in _calls(structure):
            calls += 1
            messages += len({1, *ends, *range(SENT_TOKENS, says, SENT_TOKENS), says})
            tokens += says
    return Counts(requests, calls, messages, tokens)


def _calls(structure: Structure) -> Iterable[tuple[int, Sequence[int]]]:
    for counts in structure.rounds:
        yield counts.plan_tokens, counts.prefix_tokens
        yield from ((says, ()) for says in counts.execution_tokens)
    yield structure.final_tokens, ()


def costs_of(cpu_s: Mapping[str, float], counts: Counts) -> Costs:
    """Costs from what each kind of process used for `counts`.

    One block cannot tell calls from messages: half of what planner and replica use is put down to each.
    """
    ingress = cpu_s.get("ingress", 0.0) + cpu_s.get("proxy", 0.0)
    planner, replica = cpu_s.get("planner", 0.0), cpu_s.get("replica", 0.0)
    return Costs(
        ingress_s=ingress / counts.requests,
        call_s=planner / 2 / counts.calls,
        message_s=planner / 2 / counts.messages,
        taken_s=replica / 2 / counts.calls,
        said_s=replica / 2 / counts.messages,
    )


def step_times(blocks: Sequence[Block], options: ServiceOptions, rounds: int = 4) -> StepTimes:
    """A line through what the engine used: what a step costs, and a token in it, sampled or read alike.

    The two kinds of tokens cannot be told apart, for all answers have about as many of the one for one of the other.
    How many steps there were is not seen, but follows from the answers; since that hangs a little on how long steps
    are, it is reckoned a few times. `options.times` is where to begin.
    """
    times = options.times
    for _ in range(rounds):
        rows = [_done(block, replace(options, times=times)) for block in blocks]
        base_s, token_s = _non_negative(rows, [block.engine_cpu_s for block in blocks])
        times = StepTimes(base_s, token_s, token_s)
    return times


def _done(block: Block, options: ServiceOptions) -> tuple[float, float]:
    """Steps, and tokens in them."""
    service, _ = closed_loop(options, block.structures, block.clients)
    totals = [replica.engine.totals for pool in service.pools for replica in pool.replicas.values()]
    read = sum(each.prompt_tokens - each.cached_tokens for each in totals)
    return float(sum(each.steps for each in totals)), float(read + sum(each.sequence_steps for each in totals))


def _non_negative(rows: Sequence[tuple[float, float]], sums: Sequence[float]) -> tuple[float, float]:
    """The least squares' solution; what would cost less than nothing costs nothing."""
    import numpy as np

    base_s, token_s = map(float, np.linalg.lstsq(np.array(rows), np.array(sums), rcond=None)[0])
    if base_s < 0:
        return 0.0, sum(sums) / sum(tokens for _, tokens in rows)
    if token_s < 0:
        return sum(sums) / sum(steps for steps, _ in rows), 0.0
    return base_s, token_s
