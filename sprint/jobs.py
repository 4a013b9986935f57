"""Jobs of a Ray cluster, through its dashboard: sends one, follows its log, says how it ended.

It knows the cluster's address and names of jobs, and nothing of what runs in them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sprint.errors import ConfigError, SprintError
from sprint.printable import printable

if TYPE_CHECKING:
    from sprint.submit import JobSpec

_REACH_S = 10.0
_PATIENCE_S = 60.0  # how long a cluster that has just started, or that does not answer for a while, is asked again
_NO_AGENT = "No available agent"  # a dashboard that has just started says so


class Jobs:
    """The jobs of the cluster at an address. Raises SprintError when it cannot be reached or asks for a token."""

    def __init__(self, address: str) -> None:
        self.address = address
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # which Ray takes before what it is given
        _reach(address)
        with self._sentences():
            from ray.job_submission import JobSubmissionClient

            headers = json.loads(os.environ.get("RAY_JOB_HEADERS") or "null")
            self._client = JobSubmissionClient(address, headers=headers)

    def next_attempt(self, name: str) -> int:
        """The number of the next try of a job. Raises ConfigError when it still runs, or has done its work."""
        from sprint.submit import attempt_of

        with self._sentences():
            jobs = self._client.list_jobs()
        numbered = {attempt_of(job.submission_id, name): job for job in jobs}
        last = max(numbered, default=0)
        if not last:
            return 1
        job = numbered[last]
        if not job.status.is_terminal():
            raise ConfigError(
                f"job {job.submission_id} has not ended: {self.how_to_follow(job.submission_id)}", field="name"
            )
        if job.status == "SUCCEEDED":
            raise ConfigError(f"job {job.submission_id} has done its work, expected another name", field="name")
        return last + 1

    def send(self, spec: JobSpec) -> None:
        """Starts the job. A cluster that has just started is asked again for a while."""
        deadline = time.monotonic() + _PATIENCE_S
        environment: dict[str, Any] = {"working_dir": spec.working_dir} if spec.working_dir else {}
        environment |= {"env_vars": dict(spec.env)} if spec.env else {}
        with self._sentences():
            while not self._sent(spec, environment, time.monotonic() > deadline):
                time.sleep(1)
        print(f"job {spec.id} is submitted", file=sys.stderr, flush=True)

    def _sent(self, spec: JobSpec, environment: dict[str, Any], is_last: bool) -> bool:
        try:
            self._client.submit_job(
                entrypoint=shlex.join(spec.entrypoint),
                submission_id=spec.id,
                runtime_env=environment,
                entrypoint_label_selector=dict(spec.driver_nodes) or None,
                entrypoint_num_cpus=spec.driver_cpus or None,
            )
        except RuntimeError as error:
            if is_last or _NO_AGENT not in str(error):
                raise
            return False
        return True

    def how_to_follow(self, id: str) -> str:
        """What to type to see how a job goes, and to end it."""
        return (
            f"follow it with `ray job logs -f --address {self.address} {id}`, "
            f"end it with `ray job stop --address {self.address} {id}`"
        )

    # --- following ---------------------------------------------------------------------------------------------------

    def follow(self, id: str) -> int:
        """Prints the job's log as it is written; its exit code. An interruption leaves the job running, and says so."""
        try:
            with self._sentences():
                self._print_log(id)
            return self._ending(id)
        except KeyboardInterrupt:
            print(f"\njob {id} goes on: {self.how_to_follow(id)}", file=sys.stderr, flush=True)
            raise

    def _print_log(self, id: str) -> None:
        """Until the job has ended. The log is asked for anew when the connection breaks, and goes on where it was."""
        printed, deadline = 0, time.monotonic() + _PATIENCE_S
        while True:
            before = printed
            try:
                printed = asyncio.run(self._tail(id, printed))
                if self._client.get_job_status(id).is_terminal():
                    return
            except (RuntimeError, OSError):
                if printed > before:
                    deadline = time.monotonic() + _PATIENCE_S
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

    async def _tail(self, id: str, printed: int) -> int:
        """Prints the log but for its first `printed` characters; how many there are now."""
        seen = 0
        async for text in self._client.tail_job_logs(id):
            new, seen = text[max(0, printed - seen) :], seen + len(text)
            print(printable(new), end="", flush=True)
        return max(printed, seen)

    def _ending(self, id: str) -> int:
        job = self._client.get_job_info(id)
        if job.status == "SUCCEEDED":
            print(f"job {id} succeeded", file=sys.stderr)
            return 0
        code = job.driver_exit_code or 1
        how = "was stopped" if job.status == "STOPPED" else f"failed ({_first_line(job.message)})"
        name = id.partition(".")[0]
        print(f"job {id} {how}; submit it again with --name {name} to go on with it", file=sys.stderr)
        return code if code > 0 else 128 - code

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """What goes wrong between here and the cluster, as one sentence."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise SprintError(_token_sentence(self.address, str(error))) from None
        except ConnectionError as error:
            raise SprintError(f"no Ray dashboard answers at {self.address}: {_first_line(str(error))}") from None
        except (RuntimeError, ValueError, OSError) as error:
            if isinstance(error, SprintError):
                raise
            raise SprintError(_refusal(self.address, str(error))) from None


def _token_sentence(address: str, said: str) -> str:
    if said.startswith("Authentication failed"):
        return f"{address} refuses the token of this environment, expected the cluster's (RAY_AUTH_TOKEN)"
    return (
        f"{address} asks for a token, expected RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN "
        f"or in the file that RAY_AUTH_TOKEN_PATH names"
    )


def _refusal(address: str, said: str) -> str:
    if "exceeds the maximum size" in said:
        return f"working_dir: {_first_line(said).partition('. ')[0]}; name what is not needed in .rayignore"
    return f"{address} refuses the job: {_first_line(said)}"


def _first_line(text: str | None) -> str:
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "no reason given")


def _reach(address: str) -> None:
    """Raises SprintError soon when nothing listens there, where a client would wait for minutes."""
    parts = urlsplit(address)
    proxied = parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")
    if parts.scheme not in ("http", "https") or proxied:
        return
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_REACH_S).close()
    except OSError as error:
        raise SprintError(
            f"no Ray dashboard answers at {address} ({error}), expected its address in --address or "
            f"RAY_API_SERVER_ADDRESS, e.g. through `ray dashboard cluster.yaml`"
        ) from None
