"""Which nodes of a Ray cluster a stage's workers may run on, chosen by the labels that the cluster gives its nodes.

`nodes` is the same option everywhere: labels and what they must be (`curation`), or `!x`, `in(x, y)`, `!in(x, y)`.
Empty, as on a laptop, means any. It knows what Ray says of nodes, and nothing of what runs on them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping

from sprint.errors import ConfigError

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[A-Za-z0-9.-]{{1,253}}/)?{_NAME}")
_VALUE = re.compile(rf"!?(?:{_NAME}|in\({_NAME}(?:, ?{_NAME})*\))")


def checked(nodes: dict[str, str]) -> dict[str, str]:
    """`nodes`, when Ray can read it. Raises ValueError in words, as pydantic's validators do."""
    for key, value in nodes.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no node label, expected one such as sprint/pool")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{key} is {value!r}, expected a plain value, !value, in(a, b) or !in(a, b)")
    return nodes


def matches(labels: Mapping[str, str], nodes: Mapping[str, str]) -> bool:
    """Whether a node with these labels is one of `nodes`."""
    return all(_fits(labels.get(key), wanted) for key, wanted in nodes.items())


def _fits(label: str | None, wanted: str) -> bool:
    plain = wanted.removeprefix("!")
    values = re.split(", ?", plain[3:-1]) if plain.startswith("in(") else [plain]
    return (label in values) != wanted.startswith("!")


def spelled(nodes: Mapping[str, str]) -> str:
    """`nodes` for a sentence."""
    return ", ".join(f"{key}={value}" for key, value in nodes.items())


def resources(nodes: Mapping[str, str]) -> dict[str, float]:
    """What the living nodes of the Ray there is have together, of those that match."""
    import ray

    total: Counter[str] = Counter()
    for node in ray.nodes():
        if node["Alive"] and matches(node["Labels"], nodes):
            total.update(node["Resources"])
    return dict(total)


def await_room(
    nodes: Mapping[str, str], claims: Mapping[str, float], who: str, say: Callable[[str], None], field: str = "nodes"
) -> None:
    """What `who` (several, for a sentence) claim must be there, or may still come.

    A local Ray never grows, so there it is a ConfigError. A cluster may: `say` then gets a sentence about what is not
    there yet, so that whoever reads the log knows what is waited for.
    """
    there = resources(nodes)
    short = {name: claim for name, claim in claims.items() if claim > there.get(name, 0)}
    if not short and there:
        return
    where = f" on nodes with {spelled(nodes)}" if nodes else ""
    wanted = _amounts(short) or "nothing"
    have = _amounts({name: there.get(name, 0) for name in short}) if there else "no such node"
    if os.environ.get("RAY_ADDRESS"):
        say(f"waiting for nodes: {who} claim {wanted}{where}, and the cluster has {have} yet")
        return
    advice = "expected fewer, or a cluster in RAY_ADDRESS"
    raise ConfigError(f"{who} claim {wanted}{where}, and this Ray has {have}, {advice}", field=field)


def _amounts(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}s" for name, amount in amounts.items())
