"""A model replica without an engine: it says what a script says, at a steady pace. All else of it is the real one's.

For tests of what happens around engines, which take long to start. In a module that replicas can import; `build` is
the real builder with this replica in the place of vLLM's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.serve import Application

from benchmarks.service_script import Script
from serve_app import app
from serve_app.observe import logs
from serve_app.pools.affinity import Ticket
from serve_app.pools.callers import Callers
from serve_app.pools.stats import ReplicaLoad
from serve_app.pools.vllm_server import EngineFailed, VLLMReplica, _replica_name
from sprint.llm import Chunk, FinishReason, Sampling

CHUNK_TOKENS = 4


def build(args: Mapping[str, Any]) -> Application:
    """The application as it is served, on scripted replicas. `engine`: `script`, and `token_s` for its pace."""
    vars(app)["VLLMReplica"] = ScriptedReplica
    return app.build(args)


class ScriptedReplica(VLLMReplica):
    """Takes the place of the replica that owns an engine."""

    def __init__(self, engine_args: Mapping[str, Any], version: str = "") -> None:
        from tokenizers import Tokenizer

        logs.setup(deployment="VLLMServer")
        if engine_args.get("broken"):
            raise EngineFailed("the engine could not be started: the weights cannot be read")
        self._version = version
        self._script = Script(Path(engine_args["script"]))
        self._token_s = float(engine_args.get("token_s", 0.0))
        self._words = Tokenizer.from_file(str(Path(engine_args["model"]) / "tokenizer.json"))
        self._callers = Callers()
        self._running = 0

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        extra_args: Mapping[str, Any] | None = None,
        ticket: Ticket | None = None,
        singly_chars: int = 0,
    ) -> AsyncGenerator[Chunk, None]:
        """A prompt that the script does not know is answered with nothing, which no test takes for an answer."""
        said = (self._script.after(list(prompt_ids)) or [])[: sampling.max_tokens]
        self._running += 1
        try:
            for at in range(0, len(said), CHUNK_TOKENS):
                await asyncio.sleep(self._token_s * CHUNK_TOKENS)
                ids = tuple(said[at : at + CHUNK_TOKENS])
                last = at + CHUNK_TOKENS >= len(said)
                text = self._words.decode(list(ids), skip_special_tokens=False)
                yield Chunk(ids, text, FinishReason.STOP if last else None, 0)
            if not said:
                yield Chunk((), "", FinishReason.STOP, 0)
        finally:
            self._running -= 1

    async def check_health(self) -> None:
        """Always well."""

    async def load(self) -> ReplicaLoad:
        """See VLLMServer."""
        return ReplicaLoad(_replica_name(), self._running, 0, 0.0)
