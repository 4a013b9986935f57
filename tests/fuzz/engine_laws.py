"""What holds for every rollout, whatever its models say: the laws that the engine is fuzzed against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from random import Random

from sprint import render
from sprint.events import Discarded, ExecutionFinished, ExecutionStarted, Finished, RoundJoined
from sprint.options import View
from sprint.tags import Tag, TagKind, lex, prompts_of
from sprint.types import ExecutionOutcome, Rollout, StopReason
from tests.fuzz.broken import holds
from tests.fuzz.cases import HEADER, Case
from tests.fuzz.loop import VirtualLoop
from tests.fuzz.play import Seen, played

TIMED = ("time_limit_s", "execution_timeout_s", "quorum", "hedge_after_s")


def check(case: Case, loop: VirtualLoop) -> Seen:
    """Plays `case` once and holds it against the laws of one rollout."""
    seen = played(case, loop)
    for law in (ends_with_a_reason, books_are_right, context_only_grows, executors_see_a_prefix,
                only_the_runtime_joins, events_tell_the_rounds, limits_are_kept):  # fmt: skip
        law(seen)
    return seen


def ends_with_a_reason(seen: Seen) -> None:
    rollout = seen.rollout
    holds(isinstance(rollout.stop_reason, StopReason), "a rollout has a stop reason", rollout.stop_reason)
    if rollout.stop_reason is StopReason.FAILED:
        holds(bool(rollout.detail), "a failure has its reason")
    if rollout.stop_reason is StopReason.TIME_LIMIT:
        holds(seen.options.time_limit_s is not None, "a time limit that was given")
    if rollout.trajectory is None:
        return
    holds(rollout.trajectory.final_answer == rollout.answer_text, "the answer is the trajectory's")
    for round in rollout.trajectory.rounds:
        holds(len(prompts_of(round.plan)) == len(round.executions), "a plan holds the prompts of its executions", round)
        for execution in round.executions:
            holds(isinstance(execution.outcome, ExecutionOutcome), "an execution has an outcome", execution)


def books_are_right(seen: Seen) -> None:
    usage = seen.rollout.usage
    sampled = sum(len(call.sampled) for call in seen.calls)
    holds(usage.generated_tokens == sampled, "what was sampled is booked", (usage.generated_tokens, sampled))
    holds(usage.paper_sequential_tokens <= usage.pipelined_tokens, "paper <= pipelined", usage)
    holds(usage.pipelined_tokens <= usage.barrier_tokens, "pipelined <= barrier", usage)
    holds(usage.barrier_tokens <= usage.generated_tokens, "barrier <= generated", usage)
    holds(0 <= usage.discarded_tokens <= usage.generated_tokens, "discarded <= generated", usage)
    holds(usage.num_calls == len(seen.rollout.timeline), "the timeline holds every call", usage)
    holds(usage.num_calls >= len(seen.calls), "every call is counted", (usage.num_calls, len(seen.calls)))
    grown = len(seen.rollout.token_ids) - len(seen.rollout.prompt_ids)
    holds(grown <= usage.generated_tokens + usage.runtime_tokens, "every id is sampled or the runtime's", usage)
    for name in ("runtime_tokens", "join_prefill_tokens", "num_rounds", "num_executions"):
        holds(getattr(usage, name) >= 0, f"{name} >= 0", usage)


def limits_are_kept(seen: Seen) -> None:
    options = seen.options
    for call in seen.calls:
        room = seen.case.context_tokens - len(call.prompt_ids)
        holds(1 <= call.sampling.max_tokens <= room, "a call asks for what fits", (call.sampling.max_tokens, room))
    # Calls that run side by side are ended once the sum is reached; by then each may have had a chunk more.
    says = (*seen.case.planner, *seen.case.executor)
    chunk = max((size for say in says for size in say.chunks), default=1)
    in_flight = chunk * (seen.executor.most_running + 1)
    holds(
        seen.rollout.usage.generated_tokens <= options.max_tokens + in_flight,
        "no more is sampled than allowed",
        (seen.rollout.usage.generated_tokens, options.max_tokens),
    )
    hedged = 1 if options.hedge_after_s is None else 2
    holds(seen.executor.most_running <= options.max_concurrency * hedged, "no more run at once than allowed")
    turns = options.max_rounds * options.attempts * options.rollouts
    holds(len(seen.planner.calls) <= turns + 1, "no more rounds than allowed", len(seen.planner.calls))


def context_only_grows(seen: Seen) -> None:
    """Nothing that was in the context is ever tokenised again."""
    if seen.options.rollouts > 1:
        return
    contexts = [seen.rollout.prompt_ids, *(call.prompt_ids for call in seen.planner.calls), seen.rollout.token_ids]
    for before, after in pairwise(contexts):
        holds(after[: len(before)] == before, "the context only grows", _end(seen, before))
    written = seen.tokenizer.decode(seen.rollout.token_ids[len(seen.rollout.prompt_ids) :])
    holds(written in seen.rollout.text, "the text is that of the ids", seen.rollout.text[-200:])


def executors_see_a_prefix(seen: Seen) -> None:
    """What a planner has written when the prompt closes, and the header: no more and no less."""
    if seen.options.view is not View.PREFIX:
        return
    contexts = [(*call.prompt_ids, *call.sampled) for call in seen.planner.calls]
    for call in seen.executor.calls:
        header = HEADER.search(seen.tokenizer.decode(call.prompt_ids[-40:]))
        holds(header is not None, "an executor's context ends with its header", _end(seen, call.prompt_ids))
        assert header is not None
        opening = render.branch_opening(int(header[1]), int(header[2]))
        view = call.prompt_ids[: -len(seen.tokenizer.encode(opening))]
        holds(any(c[: len(view)] == view for c in contexts), "an executor sees a prefix", _end(seen, call.prompt_ids))


def only_the_runtime_joins(seen: Seen) -> None:
    """No model can forge an execution: the tags of executions are the runtime's, one pair for each prompt."""
    if not seen.in_rounds:
        return
    found = [piece for piece in lex(seen.rollout.text) if isinstance(piece, Tag)]
    opened = [(tag.round, tag.number) for tag in found if tag.kind is TagKind.EXECUTION and not tag.closing]
    holds(opened == list(_places(seen.rollout)), "each execution stands where its prompt is", opened)
    closed = sum(tag.kind is TagKind.EXECUTION and tag.closing for tag in found)
    holds(closed == len(opened), "each execution is closed once", (opened, closed))
    blocks = [tag.closing for tag in found if tag.kind is TagKind.EXECUTIONS]
    joins = sum(isinstance(event, RoundJoined) for event in seen.events)
    if seen.options.rollouts == 1:
        holds(blocks == [False, True] * joins, "each round is joined in one block", blocks)


def events_tell_the_rounds(seen: Seen) -> None:
    """Each event comes after what it is the consequence of, and the last one only once."""
    running: set[tuple[int, int]] = set()
    for event in seen.events[:-1]:
        holds(not isinstance(event, Finished), "Finished comes once")
        if isinstance(event, ExecutionStarted):
            running.add((event.round, event.number))
        elif isinstance(event, ExecutionFinished):
            holds((event.round, event.number) in running, "what ends has begun", event)
            running.discard((event.round, event.number))
        elif isinstance(event, Discarded):
            running.clear()
        elif isinstance(event, RoundJoined):
            holds(not running, "a round is joined when its executions are over", running)


def order_does_not_matter(seen: Seen, loop: VirtualLoop, random: Random) -> None:
    """At temperature 0 a rollout is the same in whatever order its executions end."""
    if any(getattr(seen.options, name) is not None for name in TIMED):
        return
    executor = tuple(replace(say, delay=random.choice((0.0, 0.001, 0.01, 0.5))) for say in seen.case.executor)
    planner = tuple(replace(say, delay=random.choice((0.0, 0.003))) for say in seen.case.planner)
    other = played(replace(seen.case, executor=executor, planner=planner), loop).rollout
    this = seen.rollout
    if max(this.usage.generated_tokens, other.usage.generated_tokens) >= seen.options.max_tokens:
        return  # calls that run side by side share the last of the budget, and who is faster gets more of it
    holds(this.stop_reason is other.stop_reason, "the stop reason does not depend on the order",
          (this.stop_reason, other.stop_reason))  # fmt: skip
    holds(this.token_ids == other.token_ids, "the ids do not depend on the order", (this.text, other.text))


def _places(rollout: Rollout) -> Iterator[tuple[int, int]]:
    for number, round in enumerate(rollout.trajectory.rounds if rollout.trajectory else (), 1):
        for k in range(1, len(round.executions) + 1):
            yield number, k


def _end(seen: Seen, ids: tuple[int, ...]) -> str:
    return repr(seen.tokenizer.decode(ids[-80:]))
