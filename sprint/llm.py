"""The seam: the one door between the engine loop and whatever samples tokens.

One asynchronous streaming method, token ids in, token ids out. It does not know rounds, tags or tokenizers.
Implementations: `scripted.ScriptedLLM` (tests and demos of the protocol), `http_llm.HttpLLM` (any OpenAI-compatible
server) and `serve_app.ServeLLM` (vLLM replicas on Ray Serve). One contract suite checks them all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class FinishReason(StrEnum):
    """Why a call stopped."""

    STOP = "stop"  # a stop string was written
    EOS = "eos"  # the model ended the sequence
    LENGTH = "length"  # max_tokens, or the context window


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one call.

    max_tokens    most tokens to sample, stop string included
    stop          sampling ends as soon as the text contains one of these
    seed          with temperature > 0, makes the call reproducible where the engine supports it
    priority      lower is served first, where the engine schedules by priority
    chunk_tokens  a hint: the caller is content with chunks of about this many tokens
    watched       a hint: somebody reads along; if not, text may be held back until a tag closes in it
    """

    max_tokens: int
    temperature: float = 0.6
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    priority: int = 0
    chunk_tokens: int = 1
    watched: bool = True


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of what was sampled.

    token_ids      in order; every sampled id once, the stop string's and the end-of-sequence id included
    text           the same as text; over all chunks it ends with the stop string where one was written
    finish_reason  set on the last chunk only
    cached_tokens  prompt tokens served from the prefix cache; None where the engine does not say (never 0 for that)
    exact          False where the ids are a re-encoding of text, because the server returned no ids
    """

    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason | None = None
    cached_tokens: int | None = None
    exact: bool = True


class LLM(Protocol):
    """Something that continues token ids."""

    def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        """Continue `prompt_ids`.

        Calls with the same `session` share a prefix and are best served by one replica. Closing the generator cancels
        the call on the engine. Raises ContextOverflow, LLMUnavailable, LLMTimeout or LLMError.
        """
        ...
