"""The request router of the model pools: Ray Serve asks it for a replica, `affinity` says which.

It knows Ray Serve's routing loop. Three things are done differently from the stock routers: a replica that was chosen
for a call is given to that very call (the stock FIFO order hands it to whoever waits longest, and affinity is lost;
the stock lookup by request id finds only one of the calls that a request fans out, and the others wait for ever);
what travels with a call, its `Ticket`, is told where the call went; and only replicas of the caller's model are seen,
the last of them also when they have left Ray Serve's list (`versions`).
"""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from serve_app.pools.affinity import Ticket, preferred
from serve_app.pools.versions import VERSION, Stay, View, view

DEFAULT_MARGIN = 16


class AffinityRouter(FIFOMixin, RequestRouter):
    """Calls with a `Ticket` among their arguments go where it says, others to the least busy replica."""

    def initialize_state(self, margin: int = DEFAULT_MARGIN) -> None:
        """Called by Ray Serve with the router's options."""
        self._margin = margin

    @property
    def _view(self) -> View:
        return view(self._deployment_id.name)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Called by Ray Serve with the replicas on its list."""
        found = {replica.replica_id.unique_id: replica for replica in (*self.curr_replicas.values(), *replicas)}
        before = [replica.unique_id for replica in self.curr_replicas]
        versions = {replica.replica_id.unique_id: version_of(replica) for replica in replicas}
        super().update_replicas([found[name] for name in sorted(self._view.listed(versions, before))])

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Candidates one by one, best first; when all refuse, Ray Serve waits a little and asks again."""
        if pending_request is None or not candidate_replicas:
            return [candidate_replicas] if candidate_replicas else []
        pending_request.routing_context.should_backoff = True
        ticket = _ticket(pending_request) or Ticket()
        replicas = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        if ticket.only:
            return [[replicas[ticket.only]]] if ticket.only in replicas else []
        replicas = self._callable(replicas)
        if not replicas:
            return []
        loads = {name: self._load(replica) for name, replica in replicas.items()}
        capacity = candidate_replicas[0].max_ongoing_requests
        order = preferred(ticket, loads, self._margin, capacity)
        if order:
            ticket.seen()
        return [[replicas[name]] for name in order]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Called by Ray Serve when a replica has taken a call."""
        ticket = _ticket(pending_request)
        if ticket is not None:
            ticket.routed(replica_id.unique_id, [replica.unique_id for replica in self.curr_replicas])

    def _callable(self, replicas: dict[str, RunningReplica]) -> dict[str, RunningReplica]:
        """Those that may be called, as one of them may be leaving."""
        for name, replica in replicas.items():
            if self._view.stays.get(name) is Stay.GONE:
                self.on_replica_actor_died(replica.replica_id)
        return {name: replica for name, replica in replicas.items() if self._view.takes_calls(name)}

    def _load(self, replica: RunningReplica) -> int:
        """Calls that it has, as far as is known here; one that nobody has asked lately counts as idle."""
        return self.replica_queue_len_cache.get(replica.replica_id) or 0

    def _get_pending_request_matching_metadata(self, request_metadata: Any = None) -> PendingRequest | None:
        """The very call that a replica was chosen for: metadata is made for each call, so it is known by identity."""
        for pending in self._pending_requests_to_fulfill:
            if pending.metadata is request_metadata:
                return pending if not pending.future.done() else None
        return None


def version_of(replica: RunningReplica) -> str:
    """The version of a replica's model, which it says when it is ready; empty where it says none."""
    return str(replica.replica_metadata.get(VERSION, ""))


def _ticket(pending: PendingRequest) -> Ticket | None:
    return next((value for value in pending.args if isinstance(value, Ticket)), None)
