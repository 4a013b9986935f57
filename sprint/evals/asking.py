"""The seam between a method and whatever answers it: one call out, one `Answer` back.

A method makes calls and joins what comes back; it does not know whether a server elsewhere answers or an engine in this
process. This file knows neither tasks nor right answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sprint.usage import Usage

_SEED_BITS = 31  # so that every server takes a derived seed


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model.

    text         what the user says
    seed         of the sampling
    mode         for servers that know rounds: auto, parallel or sequential
    temperature  None: that of the run
    timeline     whether to ask when each call of the engine began and ended
    kind, number what the call is for, in the words of a timeline: plan, execution, final or sequential, and which
    """

    text: str
    seed: int
    mode: str = "auto"
    temperature: float | None = None
    timeline: bool = False
    kind: str = "sequential"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    text         the answer, without the thoughts before it
    reasoning    the thoughts, or the whole text where a server does not tell them apart
    usage        the counters (see `sprint.evals.methods`)
    wall_s       measured by whoever asked
    stop_reason, method   in the words of who answered; method "" where it knows no methods
    written      the whole text, thoughts included
    calls        of a method with several calls: what each was for, its tokens, its clock and its answer
    """

    text: str
    reasoning: str
    usage: Usage
    wall_s: float
    stop_reason: str = ""
    method: str = ""
    timeline: tuple[Mapping[str, Any], ...] = field(default=())
    written: str = ""
    calls: tuple[Mapping[str, Any], ...] = field(default=())


class Asker(Protocol):
    """Whatever answers calls."""

    def now(self) -> float:
        """Seconds on the asker's clock."""
        ...

    async def ask(self, call: Call) -> Answer:
        """Ask once. Raises LLMUnavailable, LLMTimeout, LLMError or InputError (the request was refused)."""
        ...


class Method(Protocol):
    """A way to come to an answer."""

    async def __call__(self, asker: Asker, question: str, seed: int, *, timeline: bool = False) -> Answer:
        """Answer one question. Raises what `Asker.ask` raises; when one call fails, the others are cancelled."""
        ...


def derived_seed(seed: int, *place: object) -> int:
    """A seed of its own for each place, the same in every run. The same place of another seed has another."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _SEED_BITS)
