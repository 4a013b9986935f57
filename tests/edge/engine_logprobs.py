"""What a vLLM engine thinks of each token after a call's prompt: the likeliest tokens, and the one that was sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import torch

from tests.parity import TOLERANCE, Asked

LIKELIEST = 20
Logprobs = dict[int, float]


async def taught_at_once(engine: Any, call: Asked) -> list[Logprobs]:
    """For each sampled token: the engine reads prompt and answer in one go."""
    output = await _ask(engine, (*call.prompt, *call.sampled), prompt_logprobs=LIKELIEST)
    return [_plain(found) for found in output.prompt_logprobs[len(call.prompt) :]]


async def asked_at(engine: Any, call: Asked, tokens: int) -> Logprobs:
    """For the token after `tokens` sampled ones: the engine is asked for it, and has what was before in its cache."""
    output = await _ask(engine, (*call.prompt, *call.sampled[:tokens]), logprobs=LIKELIEST)
    return _plain(output.outputs[0].logprobs[0])


async def _ask(engine: Any, ids: Sequence[int], **wanted: int) -> Any:
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, **wanted)
    outputs = engine.generate({"prompt_token_ids": list(ids)}, params, uuid4().hex)
    return [output async for output in outputs][-1]


def _plain(found: Any) -> Logprobs:
    return {token: known.logprob for token, known in found.items()}


async def asked_everywhere(engine: Any, calls: Sequence[Asked]) -> list[tuple[int, Logprobs]]:
    """For every sampled token of the calls, counted through; the first and last of each call both ways."""
    found: list[tuple[int, Logprobs]] = []
    start = 0
    for call in calls:
        found += enumerate(await taught_at_once(engine, call), start)
        found += [(start + tokens, await asked_at(engine, call, tokens)) for tokens in (0, len(call.sampled) - 1)]
        start += len(call.sampled)
    return found


def assert_probable(logits: torch.Tensor, expected: Sequence[tuple[int, Logprobs]]) -> None:
    """What training gives each token is what the engine gives it. `logits`: (supervised, vocabulary)."""
    known = torch.log_softmax(logits, -1)
    differences = [abs(float(known[at, token]) - value) for at, each in expected for token, value in each.items()]
    assert len({at for at, _ in expected}) == len(known)
    assert max(differences) <= TOLERANCE, f"log-probabilities differ by {max(differences):.2g}"
