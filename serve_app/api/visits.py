"""One request and what became of it: its id, its client, its end in metrics, logs and traces.

    Attended(app, metrics) -> every request gets a `Visit` (`visit_of(scope)`), an id that its answer carries back, and,
                              whatever happens, an answer in OpenAI's shape and exactly one end in the metrics

Pure ASGI, so that nothing stands between a stream and its client. It knows nothing of planners.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.failures import error_of, status_of
from serve_app.observe import logs
from serve_app.observe.tracing import Request
from sprint.types import Rollout, StopReason
from sprint.usage import Usage

if TYPE_CHECKING:
    from serve_app.observe.metrics import Metrics
    from serve_app.observe.tracing import Tracing

REQUEST_ID = "x-request-id"
ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}  # what is counted
QUIET = ("/health", "/ready", "/metrics")  # asked every few seconds: not worth a line in the log
PAGE = "/static/"  # nor are the files of the page
_KEY = "sprint.visit"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Visit:
    """What is known of a request until it ends.

    endpoint   which counted endpoint it came to; empty for all others
    client     whose it is: the name of its key, or its peer address
    status     the HTTP status of the answer; 0 as long as it has none
    refused    which bound turned it away
    gone       whether the client went away first
    broke_off  the status that the error had which ended an answer already under way; 0: none did
    rollouts   what answered it
    usage      what answering it cost, where no rollout did
    began_ns, work_ns   when it arrived and when its turn came (0: never), in nanoseconds since the epoch
    queue_s    seconds that it waited for its turn
    """

    request_id: str
    endpoint: str
    client: str
    status: int = 0
    refused: str = ""
    gone: bool = False
    broke_off: int = 0
    rollouts: list[Rollout] = field(default_factory=list)
    usage: Usage | None = None
    began_ns: int = field(default_factory=time.time_ns)
    work_ns: int = 0
    queue_s: float = 0.0

    def session(self, index: int) -> str:
        """The name under which the planner and the engines know answer `index` of the request."""
        return f"{self.request_id}.{index}" if index else self.request_id

    @property
    def outcome(self) -> str:
        """In one word."""
        if self.gone:
            return "disconnected"
        return "refused" if self.refused else "failed" if self._failed else "answered"

    @property
    def _failed(self) -> bool:
        """A status says it only where the answer was whole: a stream's is out before anything can fail."""
        failures = [rollout for rollout in self.rollouts if rollout.stop_reason is StopReason.FAILED]
        return self.status >= 400 or self.broke_off > 0 or bool(failures)


def visit_of(scope: MutableMapping[str, Any]) -> Visit:
    """The visit of a request."""
    visit: Visit = scope[_KEY]
    return visit


class Attended:
    """Middleware: attends to each request from before the first other code until after the last."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None = None, *, behind_serve: bool = False
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._behind_serve = behind_serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = scope[_KEY] = _arrived(scope)
        logs.bind(visit.request_id)
        if visit.endpoint:
            self._metrics.started(visit.endpoint)
        try:
            await self._answered(scope, receive, send)
        except asyncio.CancelledError:  # by a server that does so when the client goes away
            visit.gone = True
            raise
        finally:
            self._ended(visit, scope)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever was not foreseen becomes an error in OpenAI's shape, unless an answer is already under way."""
        visit = visit_of(scope)
        # Ray Serve's proxy tells the id that came in, which cannot be undone here: one that is refused goes back to
        # its client all the same, alone, and the log says which id took its place.
        given = Headers(scope=scope).get(REQUEST_ID)
        told = self._behind_serve and given is not None
        if told and given != visit.request_id:
            logs.say(_log, logging.INFO, "a request's id was not taken", given=given)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                if not told:
                    MutableHeaders(scope=message)[REQUEST_ID] = visit.request_id
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            _log.exception("a request failed in a way that was not foreseen")
            if visit.status:
                visit.broke_off = status_of(error)
                raise
            await JSONResponse(error_of(error), 500)(scope, receive, sent)

    def _ended(self, visit: Visit, scope: Scope) -> None:
        ended_ns = time.time_ns()
        if visit.endpoint:
            self._count(visit)
            self._trace(visit, scope, ended_ns)
        if scope["path"] in QUIET or scope["path"].startswith(PAGE):
            return
        seconds = (ended_ns - visit.began_ns) / 1e9
        line = logs.Access(scope["method"], scope["path"], visit.status, visit.client, seconds, visit.outcome)
        logs.access(line, visit.rollouts[0] if len(visit.rollouts) == 1 else None)

    def _trace(self, visit: Visit, scope: Scope, ended_ns: int) -> None:
        if self._tracing is None:
            return
        headers = dict(Headers(scope=scope))
        request = Request(
            visit.request_id,
            scope["method"],
            scope["path"],
            visit.status,
            visit.began_ns,
            ended_ns,
            visit.work_ns,
            visit.queue_s,
            headers,
        )
        self._tracing.record(request, visit.rollouts)

    def _count(self, visit: Visit) -> None:
        """Exactly one end for each beginning; what rollouts cost counts although nobody may have heard of them."""
        for rollout in visit.rollouts if visit.gone or visit.refused or visit.broke_off else visit.rollouts[:-1]:
            self._metrics.observed(rollout)
        if visit.gone:
            self._metrics.disconnected(visit.endpoint)
        elif visit.refused:
            self._metrics.refused(visit.refused, visit.endpoint)
        elif visit.broke_off:
            self._metrics.failed(visit.broke_off, visit.endpoint)
        elif visit.rollouts:
            self._metrics.finished(visit.rollouts[-1], visit.endpoint)
        elif visit.usage is not None:
            self._metrics.completed(visit.usage, visit.endpoint)
        else:
            self._metrics.failed(visit.status or 500, visit.endpoint)


def _arrived(scope: Scope) -> Visit:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    endpoint = ENDPOINTS.get(scope["path"], "") if scope["method"] == "POST" else ""
    peer = scope.get("client")
    return Visit(given if _GOOD_ID.fullmatch(given) else uuid4().hex, endpoint, peer[0] if peer else "unknown")
