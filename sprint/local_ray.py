"""One way for every room to come by Ray: the one there is, the one RAY_ADDRESS names, or a local one for a while.

Ray is imported inside, after the command line has been read. It knows nothing of what Ray is used for.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sprint.errors import SprintError

OBJECT_STORE_BYTES = 200 << 20  # rows travel in small blocks; Ray's default would take a third of the memory


@contextmanager
def ray_session(num_cpus: int | None = None) -> Iterator[None]:
    """Ray, for as long as the block runs. Stops only what it started.

    num_cpus  logical CPUs of a local Ray; None: those of the machine. Not used when a cluster is joined.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        with _kept_signal_handlers(), _plain_failure():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **_settings(num_cpus))
        yield
    finally:
        ray.shutdown()


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Ray puts a handler of its own in place of the caller's; while it starts, it also needs it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _plain_failure() -> Iterator[None]:
    """Ray that cannot be reached, or does not start in the 30 s it gives itself, is a sentence."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, ConnectionError) and type(error) is not Exception:  # Ray's own is a bare one
            raise
        where = f"the Ray at {os.environ['RAY_ADDRESS']}" if os.environ.get("RAY_ADDRESS") else "Ray on this machine"
        raise SprintError(f"{where} did not answer: {' '.join(str(error).split())[:300]}") from error


def _settings(num_cpus: int | None) -> dict[str, Any]:
    if address := os.environ.get("RAY_ADDRESS"):
        return {"address": address}
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nobody else can reach it, and the token file is shared
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors are written to files; a warning is no error
    return {
        "address": "local",
        "num_cpus": num_cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "runtime_env": {"env_vars": {"PYTHONPATH": _python_path()}},
    }


def _python_path() -> str:
    """Where workers on this machine find the project, installed or not."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
