"""The pools of engines as a planner sees them: what samples, how it is doing, and whether it answers.

It knows a deployment's handle and what Ray Serve's controller says about the deployment; Ray is imported inside.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from serve_app.pools.callers import own_name
from serve_app.pools.readiness import PoolReadiness, judged
from serve_app.pools.serve_llm import ServeLLM
from serve_app.pools.stats import PoolStats, ReplicaLoad
from serve_app.pools.staying import Staying
from serve_app.pools.versions import view
from sprint.llm import LLM

ANSWER_S = 2.0  # a replica that takes longer is not counted among those that answer
TURN_S = 0.2  # how often it is looked whether an upgrade has come to this version's turn
STATUS_S = 1.0  # the controller is not asked more often


class Pool(Protocol):
    """One pool."""

    @property
    def llm(self) -> LLM:
        """Where tokens are sampled."""
        ...

    async def turn(self) -> None:
        """Returns when the pool's replicas are those of the model to work with."""
        ...

    def leave(self) -> None:
        """Nothing more is asked of it."""
        ...

    async def stats(self) -> PoolStats:
        """What it is doing."""
        ...

    async def readiness(self) -> PoolReadiness:
        """Whether it answers, and if not, why."""
        ...


class ServePool:
    """A pool of `VLLMServer` replicas.

    controller    says how the deployment is doing
    min_replicas  replicas there should be at least
    patience_s    how long a call waits while there is none
    version       of the model to work with; empty: any

    It is made in the event loop that it works in.
    """

    def __init__(
        self,
        name: str,
        handle: Any,
        controller: Controller,
        min_replicas: int,
        patience_s: float,
        version: str = "",
    ) -> None:
        self._view = view(handle.deployment_name)
        self._view.version = version
        self._staying = Staying(handle, self._view, own_name())
        self.llm = ServeLLM(handle, patience_s)
        self._name, self._handle, self._controller, self._min_replicas = name, handle, controller, min_replicas
        self._one = handle.options(method_name="load")

    def leave(self) -> None:
        """See Pool."""
        self._staying.end()

    async def turn(self) -> None:
        """Returns when it is this version's turn: at once where no other version works.

        In an upgrade the planners of the new version wait here, and so those of the old one go on.
        """
        while not self._view.turn:
            seen = await self._controller.deployment(self._handle.deployment_name)
            if none_runs(seen) or (self._view.known and self._view.others == 0):
                return
            await asyncio.sleep(TURN_S)

    async def stats(self) -> PoolStats:
        """See Pool."""
        return PoolStats(self._name, tuple(await self._loads()), self.llm.tally.counts())

    async def readiness(self) -> PoolReadiness:
        """See Pool."""
        loads, seen = await asyncio.gather(self._loads(), self._controller.deployment(self._handle.deployment_name))
        status = getattr(seen, "status", "")
        trouble = seen.message if seen is not None and status != "HEALTHY" else ""
        return judged(self._name, len(loads), self._min_replicas, trouble, given_up=status == "DEPLOY_FAILED")

    async def _loads(self) -> list[ReplicaLoad]:
        """What the replicas say that answer in time. One that hangs must not hide the others."""
        try:
            said = await self._handle.broadcast("load").results_async(timeout_s=ANSWER_S, return_exceptions=True)
        except TimeoutError:
            said = [await self._any_load()]
        except Exception:  # Ray Serve's words for "there is no replica" are several
            said = []
        return [load for load in said if isinstance(load, ReplicaLoad)]

    async def _any_load(self) -> ReplicaLoad | None:
        response = self._one.remote()
        try:
            load: ReplicaLoad = await asyncio.wait_for(_awaited(response), ANSWER_S)
        except Exception:  # whatever it is, there was no answer
            response.cancel()
            return None
        return load


async def _awaited(response: Any) -> Any:
    return await response


class Controller:
    """What Ray Serve's controller says of this application, asked at most once a second in this process."""

    def __init__(self) -> None:
        self._asked_at = -STATUS_S
        self._deployments: dict[str, Any] = {}
        self._asking = asyncio.Lock()

    async def deployment(self, name: str) -> Any:
        """The status of a deployment; None where it is not known."""
        async with self._asking:
            if time.monotonic() - self._asked_at > STATUS_S:
                self._deployments = await asyncio.to_thread(_deployments)
                self._asked_at = time.monotonic()
        return self._deployments.get(name)


def none_runs(deployment: Any) -> bool:
    """Whether the controller says that no replica of any version runs.

    It says nothing of deployments while it builds a further version of the application: that is no no.
    """
    return deployment is not None and not deployment.replica_states.get("RUNNING", 0)


def _deployments() -> dict[str, Any]:
    from ray import serve

    app = serve.status().applications.get(serve.get_replica_context().app_name)
    return dict(app.deployments) if app is not None else {}
