"""The LLM seam over a vLLM engine in this very process's hands: no Ray, no HTTP, every token as soon as it is sampled.

For programs that own an engine, such as benchmarks and notebooks. vLLM's front end is bound to the event loop of its
first call, so one `LocalLLM` lives in one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from serve_app.pools.vllm_server import VLLMServer
from sprint.llm import Chunk, Sampling


class LocalLLM:
    """Implements `sprint.llm.LLM`. Make `server` with `least_chunk_tokens=1`: nothing is gained here by gathering."""

    def __init__(self, server: VLLMServer) -> None:
        self._server = server

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """Continue `prompt_ids`. `session` is not used: there is one engine."""
        async with aclosing(self._server.generate(prompt_ids, sampling)) as chunks:
            async for chunk in chunks:
                yield chunk
