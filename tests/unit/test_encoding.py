"""Laws of encoding beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from serve_app.encoding import Encoder

LONG = "word " * 2000


class Watched:
    """Encodes by counting; long texts wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let_go = threading.Event()

    def __call__(self, text: str) -> Sequence[int]:
        self.asked.append(text)
        if len(text) > 100:
            assert self.let_go.wait(10)
        return [len(text)]


def test_a_long_text_is_encoded_once_for_all_who_ask_and_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        watched = Watched()
        encoder = Encoder(watched)
        asked = [asyncio.create_task(encoder.ids(LONG)) for _ in range(20)]
        await asyncio.sleep(0)
        assert await encoder.ids("short") == [5]  # while the long one is still at it
        asked[0].cancel()
        watched.let_go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [[len(LONG)]] * 19
        assert watched.asked.count(LONG) == 1
        assert await encoder.ids(LONG) == [len(LONG)]  # and nothing is kept

    asyncio.run(scenario())


def test_an_error_is_everybodys() -> None:
    def fails(text: str) -> Sequence[int]:
        raise ValueError("no")

    async def scenario() -> None:
        encoder = Encoder(fails)
        answers = await asyncio.gather(*(encoder.ids(LONG) for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no"] * 3

    asyncio.run(scenario())
