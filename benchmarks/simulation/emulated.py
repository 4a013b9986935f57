"""A replica with an engine that only keeps time: it says what a script says, at the speed of an engine elsewhere.

So that four replicas on two cores are four: a step is waited for, not computed. Everything around it is the service's
own. Written apart from the simulated engine, token by token and with a prefix cache of real token ids, so that the one
can be checked by the other. Both have their step times from the same record.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.service_script import Script
from benchmarks.simulation.engine import StepTimes
from serve_app.observe import logs
from serve_app.pools.callers import Callers
from serve_app.pools.stats import ReplicaLoad
from serve_app.pools.vllm_server import LEAST_CHUNK_TOKENS, VLLMReplica
from sprint.llm import Sampling
from sprint.tokenizer import HFTokenizer


class Blocks:
    """A prefix cache of token ids: blocks by what stands in them and before them."""

    def __init__(self, block_tokens: int, most: int) -> None:
        self.block_tokens, self._most = block_tokens, most
        self._there: OrderedDict[int, None] = OrderedDict()

    def cached(self, ids: Sequence[int]) -> int:
        """How many of these tokens are there. Those that are not will be from now on."""
        found, unbroken, before = 0, True, 0
        for at in range(0, len(ids) // self.block_tokens * self.block_tokens, self.block_tokens):
            before = hash((before, *ids[at : at + self.block_tokens]))
            unbroken = unbroken and before in self._there
            found += self.block_tokens * unbroken
            self._keep(before)
        return min(found, (len(ids) - 1) // self.block_tokens * self.block_tokens)

    def _keep(self, block: int) -> None:
        self._there[block] = None
        self._there.move_to_end(block)
        if len(self._there) > self._most:
            self._there.popitem(last=False)


class _Call:
    """One call: what it will say, how much of its prompt is still to be read, and who waits for its tokens."""

    def __init__(self, prompt: list[int], says: list[int], cached: int = 0) -> None:
        self.prompt, self.says, self.cached = prompt, says, cached
        self.unread = 0
        self.said = 0
        self.gone = False
        self.more = asyncio.Event()


class EmulatedEngine:
    """Steps that take as long as `times` says, and do nothing meanwhile."""

    def __init__(self, times: StepTimes, args: Mapping[str, Any]) -> None:
        own = args["additional_config"]
        self._times, self._most = times, int(args["max_num_seqs"])
        self._step_tokens = int(own["step_tokens"])
        self._script = Script(Path(own["script"]))
        self._blocks = Blocks(int(args["block_size"]), int(own["cache_tokens"]) // int(args["block_size"]))
        self._waiting: list[tuple[int, int, _Call]] = []
        self._running: list[_Call] = []
        self._numbers = count()
        self._loop: asyncio.Task[None] | None = None

    def submit(self, prompt: Sequence[int], sampling: Sampling) -> _Call:
        said = self._script.after(list(prompt))
        if said is None:
            raise ValueError("the script does not know the prompt")
        call = _Call(list(prompt), said[: sampling.max_tokens])
        heapq.heappush(self._waiting, (sampling.priority, next(self._numbers), call))
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._steps())
        return call

    def shutdown(self, timeout: float = 0.0) -> None:
        """There is nothing to stop."""

    @property
    def unfinished(self) -> tuple[int, int]:
        """Calls that are worked on, calls that wait."""
        return len(self._running), len(self._waiting)

    async def _steps(self) -> None:
        due = time.perf_counter()
        while self._running or self._waiting:
            self._let_in()
            decoded = [call for call in self._running if not call.unread]
            read, tokens = self._read(self._step_tokens - len(decoded))
            context = sum(len(call.prompt) + call.said for call in decoded)
            due = max(due, time.perf_counter() - 0.01) + self._times.step_s(len(decoded), tokens, context)
            await asyncio.sleep(due - time.perf_counter())
            for call in (*decoded, *read):
                self._say(call)
            self._running = [call for call in self._running if call.said < len(call.says) and not call.gone]

    def _let_in(self) -> None:
        while self._waiting and len(self._running) < self._most:
            call = heapq.heappop(self._waiting)[2]
            if not call.gone:
                call.cached = self._blocks.cached(call.prompt)
                call.unread = len(call.prompt) - call.cached
                self._running.append(call)

    def _read(self, room: int) -> tuple[list[_Call], int]:
        """Whose prompts are read to their end in this step, and how many tokens are read in all."""
        ended, tokens = list[_Call](), 0
        for call in self._running:
            now = min(call.unread, room - tokens)
            if now > 0:
                call.unread -= now
                tokens += now
                if not call.unread:
                    ended.append(call)
        return ended, tokens

    def _say(self, call: _Call) -> None:
        call.said += 1
        if (len(call.prompt) + call.said) % self._blocks.block_tokens == 0:
            self._blocks.cached(call.prompt + call.says[: call.said])
        call.more.set()


class EmulatedReplica(VLLMReplica):
    """Takes the place of the service's replica. `engine_args["additional_config"]["times"]` are its step times."""

    def __init__(self, engine_args: Mapping[str, Any], version: str = "") -> None:
        logs.setup(deployment="VLLMServer")
        self._version = version
        times = StepTimes(**engine_args["additional_config"]["times"])
        self._tokenizer = HFTokenizer(Path(engine_args["model"]))
        self._engine = EmulatedEngine(times, engine_args)
        self._context_tokens = int(engine_args["max_model_len"])
        self._least_chunk_tokens = LEAST_CHUNK_TOKENS
        self._callers = Callers()
        self._dropping = set()

    async def _outputs(
        self, prompt_ids: Sequence[int], sampling: Sampling, extra_args: Mapping[str, Any] | None, caller: str
    ) -> AsyncGenerator[Any, None]:
        call = self._engine.submit(prompt_ids, sampling)
        sent = 0
        try:
            while sent < len(call.says):
                await call.more.wait()
                call.more.clear()
                ids, sent = call.says[sent : call.said], call.said
                ended = sent == len(call.says)
                text, reason = self._tokenizer.decode(ids), "stop" if ended else None
                made = SimpleNamespace(token_ids=ids, text=text, finish_reason=reason, stop_reason="script")
                yield SimpleNamespace(outputs=[made], finished=ended, num_cached_tokens=call.cached)
        finally:
            call.gone = True

    async def check_health(self) -> None:
        """Always well."""

    async def load(self) -> ReplicaLoad:
        """See VLLMServer."""
        from ray import serve

        return ReplicaLoad(str(serve.get_replica_context().replica_id.unique_id), *self._engine.unfinished)

    async def num_unfinished(self) -> int:
        """See VLLMServer."""
        return sum(self._engine.unfinished)
