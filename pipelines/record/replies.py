"""Replies of a model that are kept to be replayed: those of an offline batch, or those beside an earlier run's rows.

Replies are found by the digest of their trace, then by the key of their request. Each part that holds them is opened
only for the shards that need it. Knows files and columns, not what the replies say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.record import parts
from pipelines.record import rows as record
from pipelines.record.store import Store
from sprint.dialogue import replies_of
from sprint.requests import AnnotationUsage, Reply, Request, RequestFailed
from sprint.rows import digest_number, writable

FOLDER = "replies"
Known = Mapping[str, Reply | RequestFailed]


def request_values(digest: str, request: Request) -> dict[str, Any]:
    """A request as a row for the batch."""
    messages = [message.as_dict() for message in request.messages]
    about = {"digest": digest, "key": request.key, "purpose": str(request.purpose)}
    schema = json.dumps(request.schema) if request.schema else ""
    return about | {"messages": messages, "max_tokens": request.max_tokens, "schema": schema}


def request_schema() -> Any:
    """The columns of `request_values`."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    texts = [(name, pa.string()) for name in ("digest", "key", "purpose")]
    rest = [("max_tokens", pa.int32()), ("schema", pa.string())]
    return pa.schema([*texts, ("messages", pa.list_(message)), *rest])


def reply_schema() -> Any:
    """The columns of a kept reply; `error` says why there is none."""
    import pyarrow as pa

    kinds = {"seconds": pa.float64(), "truncated": pa.bool_()}
    counts = [field.name for field in fields(AnnotationUsage) if field.name != "seconds"]
    kinds |= dict.fromkeys(counts, pa.int64())
    names = ("digest", "key", "purpose", "text", "error", "truncated", *counts, "seconds")
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def reply_values(digest: str, key: str, purpose: str, reply: Reply | RequestFailed) -> dict[str, Any]:
    """A reply, or why there is none, as a row to keep."""
    failed = isinstance(reply, RequestFailed)
    said = {"text": "", "truncated": False, "error": writable(str(reply)) or "no reply"} if failed else _said(reply)
    return {"digest": digest, "key": key, "purpose": purpose, **said, **asdict(reply.usage)}


def _said(reply: Reply | RequestFailed) -> dict[str, Any]:
    assert isinstance(reply, Reply)
    return {"text": reply.text, "truncated": reply.truncated, "error": ""}


# --- finding them again ----------------------------------------------------------------------------------------------


class Index:
    """Which parts of a store hold replies to which traces. Keeps 12 bytes a reply."""

    def __init__(self, store: Store) -> None:
        self._names = [*parts.names(store, FOLDER), *parts.names(store)]
        digests = [_digests(store, name) for name in self._names]
        sizes = [len(found) for found in digests]
        order_of = np.concatenate([np.empty(0, np.uint64), *digests])
        numbers = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        order = np.argsort(order_of, kind="stable")
        self._sorted, self._parts = order_of[order], numbers[order]

    def __len__(self) -> int:
        return len(self._sorted)

    def parts(self, digests: NDArray[np.uint64]) -> tuple[str, ...]:
        """The names of the parts that hold replies to any of the traces."""
        low, high = (np.searchsorted(self._sorted, digests, side) for side in ("left", "right"))
        found = {int(number) for a, b in zip(low, high, strict=True) for number in self._parts[a:b]}
        return tuple(self._names[number] for number in sorted(found))


def _digests(store: Store, name: str) -> NDArray[np.uint64]:
    """The digests in a part, as numbers."""
    texts = store.open_parquet(name).read(columns=["digest"]).column("digest").to_pylist()
    return np.array([digest_number(text) for text in texts if text], dtype=np.uint64)


def load(place: str, names: Sequence[str], digests: Iterable[str], *, paid: bool = False) -> dict[str, Known]:
    """The replies to these traces in these parts, by digest and then by the key of their request.

    By digest too, since two traces may ask the same: which replies a row is given must not depend on the rows it is
    read with. `paid`: without what they cost, which another run bears.
    """
    found: dict[str, dict[str, Reply | RequestFailed]] = {}
    if names:
        store, wanted = Store(place), list(digests)
        for name in names:
            for digest, key, reply in _replies(store, name, wanted):
                found.setdefault(digest, {})[key] = _without_cost(reply) if paid else reply
    return dict(found)


def _without_cost(reply: Reply | RequestFailed) -> Reply | RequestFailed:
    return RequestFailed(str(reply)) if isinstance(reply, RequestFailed) else replace(reply, usage=AnnotationUsage())


def _replies(store: Store, name: str, digests: Sequence[str]) -> Iterator[tuple[str, str, Reply | RequestFailed]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_record = name.startswith(f"{record.FOLDER}/")
    table = store.open_parquet(name).read(columns=["digest", "exchanges"] if is_record else None)
    chosen = table.filter(pc.is_in(table.column("digest"), pa.array(digests, pa.string())))
    for values in chosen.to_pylist():
        if is_record:
            for key, reply in replies_of(record.exchanges_of(values["exchanges"])).items():
                yield values["digest"], key, reply
        else:
            yield values["digest"], values["key"], _kept(values)


def _kept(values: Mapping[str, Any]) -> Reply | RequestFailed:
    usage = record.usage_of(values)
    if values["error"]:
        return RequestFailed(values["error"], usage)
    return Reply(values["text"], values["truncated"], usage)


def forget_failed(store: Store) -> None:
    """Drops kept failures, so that those requests are made again."""
    import pyarrow.compute as pc

    for name in parts.names(store, FOLDER):
        table = store.open_parquet(name).read()
        good = pc.equal(table.column("error"), "")
        if not pc.all(good).as_py():
            store.write_table(name, table.filter(good))
