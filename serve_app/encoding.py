"""Texts as token ids, beside the event loop: a long text must not keep everybody else waiting.

It knows no limits and no requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

_SHORT = 4096  # characters that are encoded in well under a millisecond: not worth another thread

Encode = Callable[[str], Sequence[int]]


class Encoder:
    """Encodes each text once, however many ask for it at the same time."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._work: dict[str, asyncio.Task[Sequence[int]]] = {}
        self._one_at_a_time = asyncio.Semaphore(1)  # others are answered meanwhile: they need the cores, too

    async def ids(self, text: str) -> Sequence[int]:
        """The ids of a text."""
        if len(text) <= _SHORT:
            return self._encode(text)
        task = self._work.get(text)
        if task is None:
            task = self._work[text] = asyncio.create_task(self._beside(text))
            task.add_done_callback(lambda _: self._work.pop(text, None))
        return await asyncio.shield(task)  # whoever leaves takes it from nobody else

    async def _beside(self, text: str) -> Sequence[int]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._encode, text)
