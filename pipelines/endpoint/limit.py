"""An HTTP client that reads no more of a body than it is told to: a server that never ends must not fill the memory.

Knows bytes, unpacked ones where they come compressed, and not what they say.
"""

from __future__ import annotations

from typing import Any


def limited_client(most_bytes: int) -> Any:
    """A client for `openai.AsyncOpenAI`. A body of more than `most_bytes` ends in its first byte too many.

    So whoever reads it sees that it is too long; what follows is never fetched, and its connection is closed.
    """
    import openai

    class Limited(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            response = await super().send(request, **options | {"stream": True})
            try:
                content = await _beginning(response, most_bytes + 1)
            finally:
                await response.aclose()
            # Of the kind that came: which HTTP library this client is built on depends on its version.
            return type(response)(
                response.status_code, headers=_unpacked(response), content=content, request=response.request
            )

    return Limited()


async def _beginning(response: Any, most_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= most_bytes:
            break
    return bytes(content[:most_bytes])


def _unpacked(response: Any) -> list[tuple[str, str]]:
    """The headers, less those that speak of the body as it came."""
    of_the_body = ("content-encoding", "content-length", "transfer-encoding")
    return [(name, value) for name, value in response.headers.multi_items() if name not in of_the_body]
