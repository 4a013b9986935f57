"""A torch group whose workers, on whatever nodes they are, speak over the interface that has their node's address.

It knows Ray's backend for torch only as something that forms a group; `train.process` knows interfaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchConfig

from train.process import choose_interface


@dataclass
class NodeConfig(TorchConfig):
    """Ray's settings of a torch group, whose members choose their interface before it is formed."""

    @property
    def backend_cls(self) -> Any:
        """What forms the group."""
        return _backend(super().backend_cls)


def _backend(ray_backend: Any) -> Any:
    class Backend(ray_backend):
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(_choose)
            super().on_start(worker_group, backend_config)

    return Backend


def _choose() -> None:
    choose_interface(ray.util.get_node_ip_address())
