"""The HTTP door: OpenAI's API over a planner.

It puts the parts together and holds the routes. `api` needs no Ray: any `PlannerClient` will do; `Ingress` is what
`app` makes a Ray Serve deployment of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from serve_app.api.auth import Keys, load_keys
from serve_app.api.chat import Chat
from serve_app.api.completions import Completions
from serve_app.api.door import Door, Work
from serve_app.api.failures import error_object, error_of, headers_of, status_of
from serve_app.api.http_config import HttpConfig
from serve_app.api.openapi import describe
from serve_app.api.planner_client import PlannerClient, RemotePlanner
from serve_app.api.served import Served
from serve_app.api.streams import ended
from serve_app.api.visits import REQUEST_ID, Attended, visit_of
from serve_app.observe import logs
from serve_app.observe.metrics import CONTENT_TYPE, Metrics
from serve_app.observe.ray_metrics import RayMirror
from serve_app.observe.tracing import Tracing, from_environment
from serve_app.page import web
from serve_app.pools.readiness import Readiness, ReadinessState
from serve_app.pools.stats import ServiceStats
from sprint.card import Method
from sprint.errors import SprintError

__all__ = ["HttpConfig", "Ingress", "PlannerClient", "Served", "api"]

READY_S = 5.0  # a planner that does not say within so long whether it is ready is not
STATS_S = 2.0


class Ingress:
    """The door as a deployment. In an upgrade it opens when a planner of its `version` answers: the old one stays."""

    async def __init__(  # type: ignore[misc]  # which Ray Serve awaits
        self, planner: Any, model_name: str, method: Method, http: HttpConfig | None = None, version: str = ""
    ) -> None:
        logs.setup(deployment="Ingress")
        self._planner = RemotePlanner(planner)
        self._served = Served(model_name, method)
        self._http = http or HttpConfig()
        await self._planner.turn(version)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve after the constructor."""
        metrics = Metrics()
        mirror = RayMirror(metrics) if self._http.ray_metrics else None
        beside = (lambda: mirror.run(self._planner.stats)) if mirror else None
        return api(self._planner, self._served, self._http, metrics, beside, behind_serve=True)


def api(
    planner: PlannerClient,
    served: Served,
    http: HttpConfig | None = None,
    metrics: Metrics | None = None,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    *,
    behind_serve: bool = False,
) -> FastAPI:
    """The HTTP application; `beside` is run as long as it lives.

    behind_serve  whether Ray Serve's proxy stands before it, which itself tells clients the id of their request

    Raises ConfigError when the keys that it shall ask for cannot be read, or its traces have nowhere to go.
    """
    http, metrics = http or HttpConfig(), metrics or Metrics()
    tracing = from_environment(http.otlp_endpoint)
    app = _bare(_lifespan(tracing, beside))
    app.add_exception_handler(SprintError, _sprint_error)
    app.add_exception_handler(HTTPException, _http_error)
    _add_cors(app, http)
    app.add_middleware(Attended, metrics=metrics, tracing=tracing, behind_serve=behind_serve)  # the first to see it
    keyed, ours = Depends(_key_check(load_keys(http))), Depends(_origin_check(http.cors_origins))
    _add_probes(app, planner, metrics, [] if http.open_metrics else [keyed])
    app.include_router(_questions(planner, served, Door(http, metrics)), prefix="/v1", dependencies=[ours, keyed])
    describe(app)
    web.mount(app)
    return app


def _bare(lifespan: Any) -> FastAPI:
    """Without FastAPI's own pages, and without redirections, on which clients would lose their POST's body or key."""
    return FastAPI(
        title="SPRINT", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan
    )


def _lifespan(tracing: Tracing | None, beside: Callable[[], Coroutine[Any, Any, None]] | None) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(beside())] if beside else []
        try:
            yield
        finally:
            await ended(tasks)
            if tracing is not None:
                await asyncio.to_thread(tracing.shutdown)

    return lifespan


def _add_cors(app: FastAPI, http: HttpConfig) -> None:
    if http.cors_origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=http.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", REQUEST_ID],
            expose_headers=[REQUEST_ID, "retry-after"],
        )


def _key_check(keys: Keys | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that refuses who has no key, before the body is read, and notes whose the request is."""

    async def check(request: Request) -> None:
        if keys is not None:
            visit_of(request.scope).client = keys.holder(request.headers.get("authorization"))

    return check


def _origin_check(known: Collection[str]) -> Callable[[Request], Awaitable[None]]:
    """A dependency that keeps pages elsewhere from putting this server to work: browsers ask on their behalf."""

    async def check(request: Request) -> None:
        origin = request.headers.get("origin")
        if request.method != "POST" or origin is None or "*" in known or origin in known:
            return
        if origin.partition("://")[2].lower() != request.headers.get("host", "").lower():
            expected = "expected this server's own pages, or an origin in cors_origins"
            raise HTTPException(403, f"pages of {origin!r} may not ask here, {expected}")

    return check


# --- routes ----------------------------------------------------------------------------------------------------------


def _questions(planner: PlannerClient, served: Served, door: Door) -> APIRouter:
    router = APIRouter()
    chat, completions = Chat(planner, served, door.http), Completions(planner, served, door.http)

    @router.post("/chat/completions")
    async def create_chat_completion() -> Response:
        return Work(door, chat)

    @router.post("/completions")
    async def create_completion() -> Response:
        return Work(door, completions)

    @router.head("/models", include_in_schema=False)
    @router.get("/models")
    async def list_models() -> Response:
        return JSONResponse({"object": "list", "data": [served.as_dict()]})

    @router.head("/models/{name:path}", include_in_schema=False)
    @router.get("/models/{name:path}")
    async def retrieve_model(name: str) -> Response:
        served.check(name)
        return JSONResponse(served.as_dict())

    return router


def _add_probes(app: FastAPI, planner: PlannerClient, metrics: Metrics, metrics_keys: list[Any]) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> Response:
        """Whether this process lives: it answers."""
        return JSONResponse({"status": "ok"})

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready")
    async def ready() -> Response:
        """Whether a model answers."""
        return _ready(await _readiness(planner))

    @app.get("/metrics", dependencies=metrics_keys)
    async def scrape() -> Response:
        """The metrics, as Prometheus reads them."""
        return Response(metrics.render(await _stats(planner)), media_type=CONTENT_TYPE)

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return JSONResponse(app.openapi())


def _ready(readiness: Readiness) -> Response:
    pools = [asdict(pool) for pool in readiness.pools]
    body = {"status": readiness.state, "reason": readiness.reason, "pools": pools}
    if readiness.is_ready:
        return JSONResponse(body)
    message = f"the service is {readiness.state}: {readiness.reason or 'no reason is known'}"
    return JSONResponse(error_object(message, 503, code=str(readiness.state)) | body, 503, {"retry-after": "5"})


async def _readiness(planner: PlannerClient) -> Readiness:
    try:
        async with asyncio.timeout(READY_S):
            return await planner.readiness()
    except TimeoutError:
        return Readiness(ReadinessState.STARTING, f"the planner did not answer within {READY_S:.0f} s")
    except Exception as error:  # whatever it is, the service is not ready
        return Readiness(ReadinessState.FAILED, str(error) or type(error).__name__)


async def _stats(planner: PlannerClient) -> ServiceStats | None:
    """None where the planner cannot say: what the door has counted is worth telling all the same."""
    try:
        async with asyncio.timeout(STATS_S):
            return await planner.stats()
    except Exception:  # the same
        return None


# --- errors ----------------------------------------------------------------------------------------------------------


async def _sprint_error(_: Request, error: Exception) -> Response:
    return JSONResponse(error_of(error), status_of(error), headers_of(error))


async def _http_error(request: Request, error: Exception) -> Response:
    """No such path, or the wrong method for it."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(error_object(message, error.status_code), error.status_code, error.headers)
