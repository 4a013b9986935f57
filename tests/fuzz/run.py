"""The coverage-guided fuzzer: `python -m tests.fuzz.run [--target NAME] [--seconds N | --inputs N] [--seed S]`.

It starts from the kept corpus, makes inputs out of inputs, and keeps those that reach something new. An input that
breaks a law, raises, never ends or costs more than its size allows is made small, printed as JSON and written to
`--failures`. With `--keep`, the smallest inputs that reach all that was reached replace the corpus. Exit code 1: found.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.fuzz.broken import Broken
from tests.fuzz.probes import Coverage, load, watch

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

_ENGINE = ("turn", "engine", "gate", "calls", "executions", "views", "rollout", "ledger")
WATCHED = {"parser": ("tags", "reader"), "engine": ("tags", "reader", *_ENGINE), "all": ("tags", "reader", *_ENGINE)}
THOROUGH_EVERY = 16
_COARSE = 6  # the kept corpus tells counts apart by their magnitude in powers of 2 ** 6
TOO_LONG_S = 20
MOST_OF_A_KIND = 1
MOST_TRIES = 400  # at making one input small
QUIET_S = 10.0


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Turns what never ends into an error with a trace of where it was."""

    def give_up(_: int, __: object) -> None:
        raise Broken(f"an input is over within {seconds} seconds of work")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Fuzzer:
    """One target being fuzzed.

    kept      inputs that reached something new, in the order in which they did
    failures  for each kind of failure, inputs made small
    """

    def __init__(self, target: Target, coverage: Coverage, seed: int) -> None:
        self.target = target
        self.coverage = coverage
        self.random = Random(f"{seed}/{target.name}")
        self.kept: list[Any] = []
        self.failures: dict[str, list[dict[str, Any]]] = {}
        self.kinds: Counter[str] = Counter()
        self.inputs = 0
        self.seconds = 0.0
        self.cpu = time.process_time()

    def run(self, start: Sequence[Any], seconds: float, inputs: int) -> None:
        """Fuzz until so many seconds or inputs are over."""
        began = told = time.perf_counter()
        self.cpu = time.process_time()
        for input in start:
            self._try(input)
        while self.inputs < inputs and time.perf_counter() - began < seconds:
            self._try(self.target.mutated(self.random, self._base(), self.kept))
            if time.perf_counter() - told > QUIET_S:
                told = time.perf_counter()
                print(f"  {self.line(told - began)}", flush=True)
        self.seconds = time.perf_counter() - began

    def line(self, seconds: float) -> str:
        """How far it is. Inputs per second are those of this process's own time, whatever else the machine does."""
        cpu = time.process_time() - self.cpu
        return (
            f"{self.target.name}: {self.inputs:,} inputs in {seconds:.0f} s ({self.inputs / cpu:,.0f} per CPU second), "
            f"{len(self.kept)} kept, {self.coverage.summary()}, {sum(self.kinds.values())} failures"
        )

    def _base(self) -> Any:
        """One of the kept inputs: of four the smallest, or now and then one of the latest."""
        if self.random.random() < 0.2:
            return self.random.choice(self.kept[-32:])
        return min((self.random.choice(self.kept) for _ in range(4)), key=self.target.size)

    def _try(self, input: Any) -> None:
        self.inputs += 1
        error, thorough = self._error(input, thorough=False), False
        fresh = self.coverage.is_new()
        if error is None and (fresh or self.inputs % THOROUGH_EVERY == 0):
            error, thorough = self._error(input, thorough=True), True
        if error is not None:
            self._found(input, error, thorough)
        elif fresh or not self.kept:
            self.kept.append(input)

    def _error(self, input: Any, *, thorough: bool) -> BaseException | None:
        self.coverage.start()
        try:
            with no_longer_than(TOO_LONG_S):
                self.target.check(input, Random(self.inputs), thorough=thorough)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return error
        work, most = self.coverage.total, self.target.most_work * self.target.size(input)
        return Broken("work is linear in the input", f"{work} > {most}") if work > most and not thorough else None

    def _found(self, input: Any, error: BaseException, thorough: bool) -> None:
        kind = _kind(error)
        self.kinds[kind] += 1
        if self.kinds[kind] > MOST_OF_A_KIND:
            return
        tries = iter(range(MOST_TRIES))

        def breaks(other: Any) -> bool:
            found = None if next(tries, None) is None else self._error(other, thorough=thorough)
            return found is not None and _kind(found) == kind

        small = self.target.shrunk(input, breaks)
        again = self._error(small, thorough=thorough) or error
        trace = "".join(traceback.format_exception(again)[-6:])
        self.failures.setdefault(kind, []).append({"law": kind, "input": small, "trace": trace})
        print(f"  FOUND {kind}\n    {json.dumps(small)}\n    {str(again)[:400]}", flush=True)

    def smallest_cover(self) -> list[Any]:
        """Few and small inputs that together reach every branch that was reached, about as often."""
        reached: set[int] = set()
        cover: list[Any] = []
        for input in sorted(self.kept, key=lambda input: len(json.dumps(input))):
            self._error(input, thorough=False)
            mine = {feature // _COARSE for feature in self.coverage.reached()}
            if not mine <= reached:
                reached |= mine
                cover.append(input)
        return cover


def _kind(error: BaseException) -> str:
    """The law, or the error and where it was raised."""
    if isinstance(error, Broken):
        return error.law
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sprint/" in frame.filename]
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    names = [f"sprint.{name}" for name in WATCHED[options.target]]
    coverage = watch(names)
    load(names)
    from tests.fuzz import targets

    every: tuple[Target, ...] = (targets.ParserTarget(), targets.EngineTarget())
    fuzzers = [Fuzzer(target, coverage, options.seed) for target in every if options.target in (target.name, "all")]
    seconds = options.seconds if options.seconds or options.inputs else 60
    for fuzzer in fuzzers:
        start = [entry["input"] for entry in targets.load(fuzzer.target.name)]
        fuzzer.run(start, seconds or float("inf"), options.inputs or sys.maxsize)
        print(fuzzer.line(fuzzer.seconds))
        if options.keep:
            _keep(fuzzer, targets.load(fuzzer.target.name), targets.CORPUS / f"{fuzzer.target.name}.json")
    missed = {f"{module.removeprefix('sprint.')}:{line}" for module, line in coverage.missed()}
    print(f"lines with a branch that was never taken: {', '.join(sorted(missed)) or 'none'}")
    return _report([failure for fuzzer in fuzzers for kind in fuzzer.failures.values() for failure in kind], options)


def _keep(fuzzer: Fuzzer, old: list[dict[str, Any]], path: Path) -> None:
    named = [entry for entry in old if entry.get("name")]
    for entry in named:
        fuzzer._error(entry["input"], thorough=False)
    found = [{"input": input} for input in fuzzer.smallest_cover() if input not in [e["input"] for e in named]]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=True) for entry in named + found)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{path.name}: {len(named)} named and {len(found)} found inputs, {path.stat().st_size:,} bytes")


def _report(failures: list[dict[str, Any]], options: argparse.Namespace) -> int:
    if not failures:
        return 0
    if options.failures:
        Path(options.failures).write_text(json.dumps(failures, indent=1), encoding="utf-8")
    for failure in failures:
        print(f"\n{failure['law']}\n{json.dumps(failure['input'])}\n{failure['trace']}")
    return 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description="fuzz the parser and the engine")
    parser.add_argument("--target", choices=("parser", "engine", "all"), default="all")
    parser.add_argument("--seconds", type=float, default=0, help="per target (default: 60, or what --inputs take)")
    parser.add_argument("--inputs", type=int, default=0, help="per target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="replace the corpus by a small cover of what was reached")
    parser.add_argument("--failures", default="", help="a file for what breaks a law, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
