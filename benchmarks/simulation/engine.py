"""One engine: continuous batching, chunked prefill, priorities, a prefix cache. Steps that are alike are taken at once.

It knows calls and how long a step takes, and neither requests nor routing. Cores may be shared with others (`Host`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from benchmarks.simulation.cache import PrefixCache
from benchmarks.simulation.clock import Host, Job


@dataclass(frozen=True, slots=True)
class StepTimes:
    """How long one step of an engine takes, in seconds: a line through what was measured.

    base_s          of a step, whatever is in it
    sequence_s      more for each sequence that is decoded
    prefill_s       more for each prompt token that is read
    context_s       more for each token that a decoded sequence looks back at
    """

    base_s: float
    sequence_s: float
    prefill_s: float
    context_s: float = 0.0

    def step_s(self, sequences: int, prefill: int = 0, context: int = 0) -> float:
        return self.base_s + self.sequence_s * sequences + self.prefill_s * prefill + self.context_s * context


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is configured with.

    step_tokens   most tokens in one step, prompts' and sampled ones together
    cache_tokens  how many tokens its KV cache holds
    """

    max_num_seqs: int = 64
    step_tokens: int = 2048
    block_tokens: int = 16
    cache_tokens: float = math.inf


@dataclass(slots=True, eq=False)
class Call:
    """One call to a model.

    prompt_tokens  of which the first `thread_tokens` are the session's main thread
    marks          told when so many tokens have been sampled, growing; the last one is all of them
    writes_thread  whether what is sampled goes on with the main thread
    """

    session: str
    priority: tuple[float, int]
    prompt_tokens: int
    thread_tokens: int
    marks: tuple[int, ...]
    writes_thread: bool
    told: Callable[[int], None]
    cached_tokens: int = 0
    next_mark: int = 0
    own_blocks: int = 0
    unread: int = 0
    start: int = 0  # the engine's count of steps when nothing was sampled

    @property
    def says(self) -> int:
        return self.marks[-1]


@dataclass
class EngineTotals:
    """What an engine has done."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    sampled_tokens: int = 0
    busy_s: float = 0.0
    steps: int = 0
    sequence_steps: int = 0


@dataclass
class _Span:
    """Steps that are alike, under way."""

    job: Job
    steps: int
    step_s: float
    read: list[Call] = field(default_factory=list)  # whose prompt is read to its end in it
    is_cut: bool = False


class Engine:
    """See the module. `submit` is all that it is asked."""

    def __init__(self, host: Host, times: StepTimes, options: EngineOptions) -> None:
        self._host, self._times, self._options = host, times, options
        whole = options.cache_tokens
        blocks = whole if math.isinf(whole) else int(whole) // options.block_tokens
        self.cache = PrefixCache(blocks, options.block_tokens)
        self.totals = EngineTotals()
        self.decoding: set[Call] = set()
        self._waiting: list[tuple[tuple[float, int], int, Call]] = []
        self._reading: list[Call] = []
        self._due: list[tuple[int, int, Call]] = []  # by the step at which the next mark is reached
        self._writing: dict[str, Call] = {}  # by session, the call that goes on with its thread
        self._context = 0
        self._steps = 0
        self._span: _Span | None = None
        self._telling = False
        self._numbers = count()

    @property
    def running(self) -> int:
        return len(self.decoding) + len(self._reading)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, call: Call) -> None:
        """Takes a call; what becomes of it is told as its marks are reached."""
        heapq.heappush(self._waiting, (call.priority, next(self._numbers), call))
        if self._telling:
            return
        if self._span is None:
            self._next()
        elif self._span.steps > 1 and not self._span.is_cut and self.running < self._options.max_num_seqs:
            self._cut()

    def _cut(self) -> None:
        """Ends a long span with the step that is being taken, so that who has come is let in."""
        span = self._span
        assert span is not None
        done = self._host.stop(span.job)
        steps = min(span.steps, int(done / span.step_s + 1e-9) + 1)
        rest = max(0.0, steps * span.step_s - done)
        self._span = _Span(self._host.start(rest, self._ended), steps, span.step_s, is_cut=True)

    def _next(self) -> None:
        self._let_in()
        self._span = None
        if self._reading:
            self._span = self._reading_step()
        elif self.decoding:
            steps = self._due[0][0] - self._steps
            context = self._context + len(self.decoding) * steps // 2  # it grows meanwhile
            step_s = self._times.step_s(len(self.decoding), 0, context)
            self._span = _Span(self._host.start(steps * step_s, self._ended), steps, step_s)

    def _let_in(self) -> None:
        while self._waiting and self.running < self._options.max_num_seqs:
            call = self._waiting[0][2]
            writer = self._writing.get(call.session)
            live = 0 if writer is None else writer.prompt_tokens + self._sampled(writer)
            cached = self.cache.cached(call.session, call.thread_tokens, live, call.prompt_tokens)
            own = self.cache.take(call.session, cached, call.thread_tokens, call.prompt_tokens + call.says)
            if own is None:
                if not self.running:
                    raise ValueError(f"a call of {call.prompt_tokens + call.says} tokens does not fit the KV cache")
                return
            heapq.heappop(self._waiting)
            call.own_blocks, call.cached_tokens, call.unread = own, cached, call.prompt_tokens - cached
            self.totals.prompt_tokens += call.prompt_tokens
            self.totals.cached_tokens += cached
            self._reading.append(call)

    def _sampled(self, call: Call) -> int:
        return self._steps - call.start if call in self.decoding else 0

    def _reading_step(self) -> _Span:
        room = max(1, self._options.step_tokens - len(self.decoding))
        read, tokens = list[Call](), 0
        for call in self._reading:
            now = min(call.unread, room - tokens)
            call.unread -= now
            tokens += now
            if not call.unread:
                read.append(call)
            if tokens >= room:
                break
        step_s = self._times.step_s(len(self.decoding), tokens, self._context)
        return _Span(self._host.start(step_s, self._ended), 1, step_s, read)

    def _ended(self) -> None:
        span = self._span
        assert span is not None
        self._steps += span.steps
        self._context += span.steps * len(self.decoding)
        self._count(span)
        for call in span.read:
            self._reading.remove(call)
            self._begin(call)
        self._tell()
        self._next()

    def _count(self, span: _Span) -> None:
        self.totals.busy_s += span.steps * span.step_s
        self.totals.steps += span.steps
        self.totals.sequence_steps += span.steps * len(self.decoding)
        self.totals.sampled_tokens += span.steps * len(self.decoding) + len(span.read)

    def _begin(self, call: Call) -> None:
        """Its prompt has been read, and with it its first token is there."""
        call.start = self._steps - 1
        self.decoding.add(call)
        self._context += call.prompt_tokens + 1
        if call.writes_thread:
            self._writing[call.session] = call
        heapq.heappush(self._due, (call.start + call.marks[0], next(self._numbers), call))

    def _tell(self) -> None:
        """Whoever has reached a mark."""
        reached = list[tuple[Call, int]]()
        while self._due and self._due[0][0] <= self._steps:
            call = heapq.heappop(self._due)[2]
            mark = call.marks[call.next_mark]
            call.next_mark += 1
            if call.next_mark < len(call.marks):
                heapq.heappush(self._due, (call.start + call.marks[call.next_mark], next(self._numbers), call))
            else:
                self._end(call)
            reached.append((call, mark))
        self._telling = True  # who asks for more while being told is let in with the next step
        for call, mark in reached:
            call.told(mark)
        self._telling = False

    def _end(self, call: Call) -> None:
        self.decoding.discard(call)
        whole = call.prompt_tokens + call.says
        self._context -= whole
        if self._writing.get(call.session) is call:
            del self._writing[call.session]
        self.cache.give(call.session, call.own_blocks, whole if call.writes_thread else call.thread_tokens, call)
