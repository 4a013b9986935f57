"""The networks of `tests.edge.cluster_nodes`: a bridge with a namespace for each node, or just 127.0.0.1.

Knows Linux's network and process namespaces, and nothing of Ray but its usual ports.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import cache


class Network:
    """No networks: every node is at 127.0.0.1."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def place(self, name: str) -> tuple[str, str, list[str]]:
        """A new node's address, its cable, and the words before its command."""
        return "127.0.0.1", "", []

    def enter(self, name: str) -> list[str]:
        """The words before a command that runs where that node is."""
        return []

    def ports(self, count: int) -> list[int]:
        """Ports for the head."""
        sockets = [socket.socket() for _ in range(count)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        ports = [int(found.getsockname()[1]) for found in sockets]
        for found in sockets:
            found.close()
        return ports


class Bridge(Network):
    """A bridge that this machine is also on, and a namespace with one end of a cable for each node."""

    def __init__(self) -> None:
        self.name = f"spr{os.getpid() % 100_000}"
        self._subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self._ends: dict[str, str] = {}

    def open(self) -> None:
        ip("link", "add", self.name, "type", "bridge")
        ip("addr", "add", f"{self._subnet}.254/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def close(self) -> None:
        for end in self._ends.values():
            ip("netns", "del", end, check=False)
        ip("link", "del", self.name, check=False)

    def place(self, name: str) -> tuple[str, str, list[str]]:
        number = len(self._ends) + 1
        end, cable, address = f"{self.name}n{number}", f"{self.name}c{number}", f"{self._subnet}.{number}"
        self._ends[name] = end
        ip("netns", "add", end)
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", end)
        ip("link", "set", cable, "master", self.name, "up")
        ip("-n", end, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", end, "link", "set", device, "up")
        ip("-n", end, "route", "add", "default", "via", f"{self._subnet}.254")  # Ray asks it which address is its own
        return address, cable, ["setpriv", "--pdeathsig=KILL", *self.enter(name), *_ALONE]

    def enter(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self._ends[name]]

    def ports(self, count: int) -> list[int]:
        return [6379, 8265, 52365][:count]  # its own machine: Ray's usual ones


_ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@cache
def may_isolate() -> bool:
    """Whether nodes can have networks and processes of their own here."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "setpriv"))):
        return False
    trial = f"sprtry{os.getpid() % 100_000}"
    made = ip("netns", "add", trial, check=False)
    tried = subprocess.run(["ip", "netns", "exec", trial, *_ALONE, "true"], capture_output=True, check=False)
    cable = ip("link", "add", trial, "type", "veth", "peer", "name", "eth0", "netns", trial, check=False)
    ip("netns", "del", trial, check=False)
    return made and cable and tried.returncode == 0


def ip(*words: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.returncode == 0
