"""One call to a model inside a rollout: its limits, its seed and priority, its tokens read into a turn and booked.

It knows the LLM seam, the ledger and the rollout's options. It does not know rounds, nor what a turn makes of a text.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from sprint.events import Part
from sprint.ledger import CallRecord, Ledger
from sprint.llm import LLM, Chunk, FinishReason, Sampling
from sprint.options import EngineOptions
from sprint.turn import Turn

_PRIORITY_STEP_S = 0.1  # requests that begin within this time are of the same age
_PRIORITIES = 1 << 40  # room for ages between two priorities that a caller gives
_LONGEST_CYCLE = 64
_LOOK_EVERY_TOKENS = 128


Show = Callable[[Part, str], None]
"""Hears what a call has written, as it becomes known, and in which part of the round."""


class Calls:
    """Makes the calls of one rollout.

    context_tokens  the context window
    session         names the rollout to routers that keep what shares a prefix together
    watched         whether somebody reads along
    """

    def __init__(
        self, options: EngineOptions, ledger: Ledger, context_tokens: int, session: str, watched: bool = True
    ) -> None:
        self.options = options
        self.ledger = ledger
        self.context_tokens = context_tokens
        self.session = session
        self.watched = watched
        self._age = int(time.time() / _PRIORITY_STEP_S)

    def budget(self) -> int:
        """Tokens that the rollout may still sample."""
        return self.options.max_tokens - self.ledger.generated_tokens

    def room(self, context: Sequence[int]) -> int:
        """Tokens that a call may sample after `context`."""
        return min(self.budget(), self.context_tokens - len(context))

    def sampling(
        self, max_tokens: int, context: Sequence[int], stop: tuple[str, ...], place: tuple[int, int], attempt: int = 1
    ) -> Sampling:
        """How the call at `place` (round, prompt number; 0 for the planner) is sampled.

        The seed depends on the place and the attempt alone, so that at a given seed a rollout is the same in whatever
        order its executions end.
        """
        options = self.options
        parts = (options.seed, *place) if attempt == 1 else (options.seed, *place, attempt)
        seed = None if options.seed is None else random.Random("/".join(map(str, parts))).getrandbits(31)
        room = min(max_tokens, self.room(context))
        priority = self._priority(place)
        return Sampling(room, options.temperature, options.top_p, stop, seed, priority, watched=self.watched)

    def _priority(self, place: tuple[int, int]) -> int:
        """Older requests go first, so that one that has begun also ends; of one request, executors before the planner.

        A planner that is still writing waits for no one, while the executors are what the round will wait for.
        """
        is_planner = place[1] == 0
        return self.options.priority * _PRIORITIES + 2 * self._age + is_planner

    async def stream(
        self,
        llm: LLM,
        context: list[int],
        sampling: Sampling,
        turn: Turn,
        call: CallRecord,
        shown: Show,
        session: str = "",
    ) -> FinishReason | None:
        """Samples one call into `turn` until either is over; `shown` gets the text as it becomes known.

        A call that raises is closed in the books, too.
        """
        reason: FinishReason | None = None
        if sampling.max_tokens < 1:
            reason = FinishReason.LENGTH
        else:
            with self._closed_if_it_raises(call):
                async with aclosing(llm.stream(context, sampling, session=session or self.session)) as chunks:
                    reason = await self._read(chunks, turn, call, shown)
        shown(turn.part, turn.finish(reason))
        return reason

    @contextmanager
    def _closed_if_it_raises(self, call: CallRecord) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.ledger.close_call(call, "failed" if isinstance(error, Exception) else "cancelled")
            raise

    async def _read(
        self, chunks: AsyncIterator[Chunk], turn: Turn, call: CallRecord, shown: Show
    ) -> FinishReason | None:
        """Feeds a call's chunks to its turn until either is over; gives why the call ended, if it has."""
        reason: FinishReason | None = None
        look_at = _LOOK_EVERY_TOKENS
        async for chunk in chunks:
            self.ledger.sampled(call, len(chunk.token_ids), chunk.cached_tokens, exact=chunk.exact)
            reason = chunk.finish_reason
            feed(turn, chunk.token_ids[:-1] if reason is FinishReason.EOS else chunk.token_ids, shown)
            if len(turn.ids) >= look_at and not turn.over:
                look_at = len(turn.ids) + _LOOK_EVERY_TOKENS
                if repeats_itself(turn.ids, self.options.repetition_tokens):
                    turn.run_away()
            if reason is None and self.budget() < 1:
                reason = FinishReason.LENGTH  # calls that run side by side share what is left
            if turn.over or reason is not None:
                break
        return reason


def feed(turn: Turn, ids: Sequence[int], shown: Show) -> None:
    """Feeds a chunk to a turn. A tag is known at the very id that completes it.

    `shown` hears the chunk's text in one piece, but where a prompt closes or a final answer opens.
    """
    said: list[str] = []
    at = 0
    while at < len(ids) and not turn.over:
        before = turn.stage
        taken, text = turn.feed(ids, at)
        at += taken
        if turn.stage == before:
            said.append(text)
            continue
        if said:
            shown(before[0], "".join(said))
        shown(turn.part, text)
        said = []
    if said:
        shown(turn.part, "".join(said))


def repeats_itself(ids: Sequence[int], over_tokens: int | None) -> bool:
    """Whether the last `over_tokens` ids are one short cycle said over and over."""
    if over_tokens is None or len(ids) < max(over_tokens, 2 * _LONGEST_CYCLE):
        return False
    # A cycle of n brings every id back n places later: the last id first of all, which most text fails already.
    last, before_last = ids[-1], ids[-2 : -2 - _LONGEST_CYCLE : -1]
    if last not in before_last:
        return False
    tail = list(ids[-over_tokens:])
    return any(tail[n:] == tail[:-n] for n, token_id in enumerate(before_last, 1) if token_id == last)
