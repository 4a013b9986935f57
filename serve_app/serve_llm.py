"""The LLM seam over a Ray Serve handle: `ServeLLM` streams from the replicas of `VLLMServer`.

It knows the handle and nothing of what stands behind it. Ray is imported only to recognise its errors.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from sprint.errors import LLMError, LLMUnavailable, SprintError
from sprint.llm import Chunk, Sampling


class ServeLLM:
    """Implements `sprint.llm.LLM`. `handle` is a deployment handle whose `generate` streams chunks."""

    def __init__(self, handle: Any) -> None:
        self._generate = handle.options(method_name="generate", stream=True)  # made once: options cost per call

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """Continue `prompt_ids`. `session` is not used: the default router balances load and knows no affinity."""
        response = self._generate.remote(tuple(prompt_ids), sampling)
        finished = False
        try:
            async for chunk in unwrapped(response):
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            if not finished:
                response.cancel()  # the replica's generator is closed, which aborts the call on the engine


async def unwrapped(response: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """What a streaming call yields, with the project's own errors as they were raised on the replica."""
    try:
        async for item in response:
            yield item
    except Exception as error:
        raise original(error) from error


def original(error: Exception) -> Exception:
    """The error of a call to another deployment, as the caller should see it."""
    from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, SprintError | TaskCancelledError):
            return cause
        return LLMError(f"{type(cause).__name__}: {' '.join(str(cause).split())}")
    if isinstance(error, RayActorError):
        return LLMUnavailable("a model replica died; it is being replaced")
    if isinstance(error, BackPressureError | DeploymentUnavailableError):
        return LLMUnavailable("too many calls are waiting for the model")
    return error
