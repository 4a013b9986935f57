"""An OpenTelemetry collector of a test's own: takes traces by HTTP as protobuf, and keeps them."""

# ruff: noqa: N802 (`do_POST` is called so by http.server)

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.edge.local_server import Handler, LocalServer


class Collector:
    """What came in: `spans` are protobuf's own records, `paths` where they were sent, `services` who sent them."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.paths: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        """One export request."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.paths.add(path)
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [each.value.string_value for each in sent.resource.attributes if each.key == "service.name"]
            self.services.update(names)
            self.spans += [span for scope in sent.scope_spans for span in scope.spans]


class _Receiver(Handler):
    collector: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.collector.take(self.path, gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send(200)


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a port of its own, for as long as the block runs."""
    found = Collector()
    with LocalServer(_Receiver, collector=found) as server:
        found.url = f"http://{server.address}"
        yield found
