"""A worker's process before anything is trained: its environment, threads, seed, and the group it talks in.

It knows Ray's workers only as processes, and nothing of models or data.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import warnings

from train.config import TrainConfig

_INTERFACE = "GLOO_SOCKET_IFNAME"
_ADDRESS_OF = 0x8915  # Linux's SIOCGIFADDR


def environment(config: TrainConfig) -> dict[str, str]:
    """Environment of a worker process.

    On CPU a worker computes with its own threads only, as spinning OpenMP threads steal from the other workers.
    """
    values = {"TOKENIZERS_PARALLELISM": "false"}
    if not config.use_gpu:
        values |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(config.threads)}
    return values


def prepare_process(config: TrainConfig) -> None:
    import torch
    from transformers.utils import logging

    warnings.filterwarnings("ignore", ".*is deprecated", FutureWarning, "torch.distributed")  # DeepSpeed's calls
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(config.seed)
    if not config.use_gpu:
        torch.set_num_threads(config.threads)
    import deepspeed
    import deepspeed.ops

    # On Linux DeepSpeed would compile a shared-memory collective here, for minutes; plain gloo serves.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if config.use_gpu else "gloo", verbose=False)


def choose_interface(address: str) -> None:
    """Tells gloo to speak over the interface of this node's address in the cluster, unless it has been told one.

    Gloo asks the host's name otherwise, which many machines call 127.0.x.1, where no other node reaches them.
    """
    if found := interface_of(address):
        os.environ.setdefault(_INTERFACE, found)


def interface_of(address: str) -> str:
    """The interface of this machine that has an IPv4 address; `""` where none has it."""
    names = (name for _, name in socket.if_nameindex())
    return next((name for name in names if _address_of(name) == address), "")


def _address_of(interface: str) -> str:
    """The IPv4 address of an interface; `""` where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            told = fcntl.ioctl(asking.fileno(), _ADDRESS_OF, struct.pack("256s", interface.encode()))
        except OSError:
            return ""
    return socket.inet_ntoa(told[20:24])
