"""Which model's replicas a planner works with while a pool goes from one model to another.

In an upgrade replicas of the old and of the new model stand in one pool for a while. A planner was made for one of
them, and its process sees only that one's replicas: so no rollout has tokens of two models. The last replicas of a
model that is replaced would be gone before the rollouts begun with them have ended; so they are asked to stay, and are
called as before although Ray Serve has taken them off its list.

Pure: names and versions in, names out, and a table of what this process sees of each pool. It knows neither Ray nor
models. One thread writes a table (the router's); others read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

VERSION = "version"  # what a replica calls it in its metadata


class Stay(StrEnum):
    """What is known of a replica that was taken off the list."""

    ASKED = "asked"  # it may be dying, so it gets no calls yet
    STAYS = "stays"
    GONE = "gone"


@dataclass(slots=True)
class View:
    """What one process sees of one pool.

    version  of the model that it works with; empty: of any
    own      replicas of that version that are on the list
    others   replicas of other versions that are on the list
    stays    of the replicas that were taken off the list as the last of their version, what is known
    ask      called with the name of each of those, from the router's thread
    """

    version: str = ""
    own: int = 0
    others: int = 0
    known: bool = False
    stays: dict[str, Stay] = field(default_factory=dict)
    ask: Callable[[str], object] | None = None

    def listed(self, versions: Mapping[str, str], before: Iterable[str]) -> set[str]:
        """The replicas to work with, now that these are on the list with these versions.

        before  those that were worked with until now
        """
        own = {name for name, version in versions.items() if self._is_own(version)}
        self.own, self.others, self.known = len(own), len(versions) - len(own), True
        if own or not self.version or self.ask is None:
            self.stays.clear()
            return own
        left = {name for name in before if name not in versions and self.stays.get(name) is not Stay.GONE}
        for name in left - self.stays.keys():
            self.stays[name] = Stay.ASKED
            self.ask(name)
        return left

    def heard(self, name: str, stay: Stay) -> None:
        """What a replica that was asked to stay has said. One that is on the list again is not asked any more."""
        if name in self.stays:
            self.stays[name] = stay

    def takes_calls(self, name: str) -> bool:
        """Whether a replica that is worked with may be called."""
        return self.stays.get(name, Stay.STAYS) is Stay.STAYS

    @property
    def turn(self) -> bool:
        """Whether this version has come to at least as many replicas as the others: time for its planners."""
        return self.own >= max(1, self.others)

    def _is_own(self, version: str) -> bool:
        return not self.version or version in ("", self.version)


def door_version(versions: Mapping[str, str]) -> str:
    """The versions of all pools' models as one."""
    return ",".join(f"{pool}={version}" for pool, version in sorted(versions.items()))


_views: dict[str, View] = {}


def view(pool: str) -> View:
    """This process's view of the pool of that name. There is one, however often it is asked for."""
    return _views.setdefault(pool, View())
