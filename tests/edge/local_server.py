"""An HTTP server on a local port, in threads: what the fakes of other services have in common.

Knows ranges and chunked bodies; what is answered is the fake's.
"""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class LocalServer:
    """A context: it answers while the block runs. `shared` are attributes that all its handlers get."""

    def __init__(self, handler: type[Handler], **shared: Any) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Bound", (handler,), shared))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection. Headers are given as keywords, with `_` for `-`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go out in two writes

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answers; the body of an answer to HEAD is only measured."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_range(self, data: bytes, **headers: str) -> None:
        """Answers with the bytes that were asked for, or with all."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(200, data, **headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        self.send(206, data[first : last + 1], **headers, Content_Range=f"bytes {first}-{last}/{len(data)}")

    def body(self) -> bytes:
        """The body of the request."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return chunks(self.rfile)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def chunks(stream: Any) -> bytes:
    """The data of a body in chunks, each after a line with its length in hexadecimal, and what trails it passed over.

    HTTP's chunks look like that, and so do those that the checksums of S3 clients come in.
    """
    data = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        data += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return data
