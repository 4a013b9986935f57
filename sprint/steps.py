"""Runs commands of `sprint` one after the other as child processes, and knows which are done.

A finished step leaves a marker with the digest of its command and of every step before it, so a changed step and all
after it run again. Children get their own process group; whatever ends this process ends them. It does not know what
the steps do.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from sprint.errors import SprintError
from sprint.files import write_text

START_TIMEOUT_S = 300.0  # for a server to answer
STOP_TIMEOUT_S = 30.0  # for a child to stop when asked
LAST_LINES = 15
# For small models on CPU cores; whatever the caller has set stands.
CPU_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DS_ACCELERATOR": "cpu",
}
ENVIRONMENT = CPU_ENVIRONMENT | {"PYTHONUNBUFFERED": "1", "COLUMNS": "110"}
_FROM_WORKERS = re.compile(r"^\s*(?:\x1b\[[0-9;]*m)?\(\S+ pid=\d+")  # what Ray forwards from its workers
_ADDRESS = re.compile(r"(--port=|--base-url=\S*?:)\d+")  # a free port differs from run to run


class StepFailed(SprintError):
    """A step ended badly; the message names it and its log."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    makes    what it writes whole; removed before it runs again
    resumes  what it goes on with, by `--resume`, when that exists
    server   a command that has to be up meanwhile: it is, once it has written the file `ready`
    """

    title: str
    words: tuple[str, ...]
    makes: tuple[Path, ...] = ()
    resumes: Path | None = None
    server: tuple[str, ...] = ()
    ready: Path | None = None


class Runner:
    """Runs steps in a folder; use it as a context manager, so that what it started is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Runner:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self.before = signal.signal(signal.SIGTERM, _stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self.children):
            stop(child)
        signal.signal(signal.SIGTERM, self.before)

    def run(self, steps: Sequence[Step]) -> None:
        """Run those that are not done. Raises StepFailed at the first that fails."""
        digest = ""
        for number, step in enumerate(steps, 1):
            digest = _digest(digest, step)
            title = f"[{number}/{len(steps)}] {step.title}"
            name = f"{number}-{step.words[0]}"
            marker = self.folder / "logs" / f"{name}.state"
            state = marker.read_text(encoding="utf-8") if marker.exists() else ""
            if state == f"done {digest}":
                print(f"{title} – done before", flush=True)
                continue
            began = time.monotonic()
            print(f"\n{title}", flush=True)
            write_text(marker, f"begun {digest}")
            self._run(step, self.folder / "logs" / name, goes_on=state == f"begun {digest}")
            write_text(marker, f"done {digest}")
            print(f"  {time.monotonic() - began:.0f} s", flush=True)

    def _run(self, step: Step, log: Path, *, goes_on: bool) -> None:
        words = _prepared(step, goes_on)
        server = self._serve(step, log.with_name(log.name + ".server.log")) if step.server else None
        print(f"  $ sprint {shlex.join(words)}", flush=True)
        child = self._start(words, log.with_suffix(".log"))
        show(child, log.with_suffix(".log"))
        code = child.wait()
        self.children.remove(child)
        if server:
            stop(server)
            self.children.remove(server)
        if code:
            raise _failure(step.title, code, log.with_suffix(".log"))

    def _serve(self, step: Step, log: Path) -> subprocess.Popen[str]:
        """The server, once it answers. Raises StepFailed when it ends or takes too long."""
        assert step.ready, "a server says when it is ready"
        step.ready.unlink(missing_ok=True)
        print(f"  $ sprint {shlex.join(step.server)} &", flush=True)
        server = self._start(step.server, log)
        drained = threading.Thread(target=_drain, args=(server, log), daemon=True)
        drained.start()
        began = time.monotonic()
        while not step.ready.exists():
            if server.poll() is not None:
                raise _failure("serve", server.returncode, log)
            if time.monotonic() - began > START_TIMEOUT_S:
                raise StepFailed(f"the server was not ready after {START_TIMEOUT_S:.0f} s; see {log}")
            time.sleep(0.2)
        print(f"  ready after {time.monotonic() - began:.0f} s", flush=True)
        return server

    def _start(self, words: Sequence[str], log: Path) -> subprocess.Popen[str]:
        """A child whose standard error goes to its log and whose output is ours to read."""
        write_text(log, "")
        with log.open("a", encoding="utf-8") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "sprint.cli", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                env=ENVIRONMENT | os.environ,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops its children in order
            )
        self.children.append(child)
        return child


def _prepared(step: Step, goes_on: bool) -> tuple[str, ...]:
    """The command as it has to be run now: leftovers removed, or gone on with."""
    for path in step.makes:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if step.resumes and step.resumes.exists():
        if goes_on:
            return (*step.words, "--resume")
        shutil.rmtree(step.resumes) if step.resumes.is_dir() else step.resumes.unlink()
    return step.words


def show(child: subprocess.Popen[str], log: Path) -> None:
    """Pass on what a child prints, without its workers' chatter, and keep all of it in the log."""
    for line in _logged(child, log):
        if line.strip() and not _FROM_WORKERS.match(line):
            print(f"    {line.rstrip()}", flush=True)


def _drain(child: subprocess.Popen[str], log: Path) -> None:
    """Keep what a server prints, so that it never waits for a reader."""
    for _ in _logged(child, log):
        pass


def _logged(child: subprocess.Popen[str], log: Path) -> Iterator[str]:
    """The lines a child prints, each in the log before it is given out."""
    assert child.stdout, "started with a pipe"
    with log.open("a", encoding="utf-8") as file:
        for line in child.stdout:
            file.write(line)
            file.flush()
            yield line


def stop(child: subprocess.Popen[str]) -> None:
    """Ask a child to stop; end its whole group when it does not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            print(f"  process {child.pid} did not stop when asked, ending it", file=sys.stderr, flush=True)
    with suppress(ProcessLookupError):  # the usual case: the whole group is gone
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _failure(title: str, code: int, log: Path) -> StepFailed:
    with log.open(encoding="utf-8", errors="replace") as file:
        lines = deque((line.rstrip() for line in file if line.strip()), maxlen=LAST_LINES)
    print("\n".join(f"    | {line}" for line in lines), file=sys.stderr, flush=True)
    return StepFailed(f"step '{title}' failed (exit code {code}); its log is {log}, go on with --resume once mended")


def _digest(before: str, step: Step) -> str:
    words = _ADDRESS.sub(r"\1", "\0".join((before, *step.words, "\1", *step.server)))
    return hashlib.sha256(words.encode()).hexdigest()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
