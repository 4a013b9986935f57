"""What every question passes on its way to the planner: admission, its body, its turn, and a look at the client.

    enter the house -> read the body -> check it -> wait for a turn -> answer

All of it happens inside the response, so that one block holds the place from the first byte read to the last one sent,
and a client that goes away at any point takes everything with it. It knows no planner and no format.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve_app.api.admission import Admission, Place
from serve_app.api.connection import ClientGone, read_body, unless_gone, unless_stalled
from serve_app.api.failures import Overloaded
from serve_app.api.http_config import HttpConfig
from serve_app.api.visits import Visit, visit_of

if TYPE_CHECKING:
    from serve_app.observe.metrics import Metrics

Asked = TypeVar("Asked")


class Endpoint(Protocol[Asked]):
    """Something that answers questions of one kind."""

    def parse(self, body: bytes) -> Asked:
        """The request in a body. Raises InputError."""
        ...

    async def answer(self, asked: Asked, visit: Visit) -> Response:
        """The answer, or the beginning of one that is streamed."""
        ...


class Door:
    """One for all endpoints of an ingress."""

    def __init__(self, http: HttpConfig, metrics: Metrics) -> None:
        self.http = http
        self.metrics = metrics
        self.admission = Admission(http.max_requests, http.max_queued, http.retry_after_s)

    async def turn(self, place: Place) -> None:
        """Waits for a request's turn, on the clock."""
        self.metrics.queued()
        try:
            await place.turn()
        finally:
            self.metrics.dequeued(place.waited_s)


class Work(Response, Generic[Asked]):
    """The response to a question: does all of the work when it is sent."""

    def __init__(self, door: Door, endpoint: Endpoint[Asked]) -> None:
        super().__init__()
        self._door = door
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit, http = visit_of(scope), self._door.http
        try:
            with self._door.admission.enter(visit.client) as place:
                read = read_body(Headers(scope=scope), receive, http.max_body_bytes, http.body_timeout_s)
                body = await place.before(read)
                asked = self._endpoint.parse(body)
                del body
                sent = unless_stalled(send, http.stall_timeout_s)
                await unless_gone(self._answer(asked, place, scope, receive, sent), receive)
        except ClientGone:
            visit.gone = True
        except Overloaded as error:
            visit.refused = error.reason
            raise

    async def _answer(self, asked: Asked, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope)
        await self._door.turn(place)
        visit.work_ns, visit.queue_s = time.time_ns(), place.waited_s
        response = await self._endpoint.answer(asked, visit)
        await response(scope, receive, send)
