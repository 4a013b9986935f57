"""The client at the other end of a request: its body, read within limits, and whether it is still there and reads.

Pure ASGI. Some servers cancel a handler when its client goes away and some do not; work run by `unless_gone` ends in
both cases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from starlette.types import Message, Receive, Send

from serve_app.api.failures import BodyTimeout, TooLarge


class ClientGone(Exception):
    """The client went away; nobody is there to be answered."""


async def read_body(headers: Mapping[str, str], receive: Receive, max_bytes: int, timeout_s: float) -> bytes:
    """The body. Raises TooLarge as soon as it is known to be, BodyTimeout, or ClientGone; no more is ever held."""
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > max_bytes:
        raise _too_large(f"is {announced} bytes long", max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise BodyTimeout(f"the request body did not arrive within {timeout_s:g} s") from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large("is longer", max_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(what: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"the request body {what}, expected at most {max_bytes} bytes")


async def unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Does `work`, the body having been read; raises what it raises, and ClientGone when the client leaves before.

    However it ends, nothing is left running.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def unless_stalled(send: Send, timeout_s: float) -> Send:
    """`send`, which raises ClientGone where a message cannot be handed on for so long: the client has stopped reading.

    It is the server that makes a sender wait, once it holds enough for a client. Ray Serve's replicas never do.
    """

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await send(message)
        except TimeoutError:
            raise ClientGone from None

    return sent
