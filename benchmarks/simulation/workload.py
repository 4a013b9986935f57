"""Who asks what, and when: clients that ask again when they are answered, or questions that arrive by themselves."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence

from benchmarks.simulation.clock import Clock
from benchmarks.simulation.options import ServiceOptions
from benchmarks.simulation.service import Asked, Service
from benchmarks.structures import Structure


def closed_loop(options: ServiceOptions, questions: Sequence[Structure], clients: int) -> tuple[Service, list[Asked]]:
    """So many clients, each of which asks its next question when the last one has been answered."""
    clock = Clock()
    service, waiting, asked, left = Service(clock, options), deque(questions), list[Asked](), [len(questions)]

    def ended() -> None:
        left[0] -= 1
        begin()

    def begin() -> None:
        if waiting:
            asked.append(service.ask(waiting.popleft(), ended))

    for _ in range(clients):
        begin()
    clock.run(stop=lambda: not left[0])
    return service, asked


def open_loop(
    options: ServiceOptions, questions: Sequence[Structure], rate: float, seed: int = 0
) -> tuple[Service, list[Asked]]:
    """Questions that arrive as a Poisson process of `rate` per second, whatever became of those before."""
    return arriving(options, questions, list(_poisson(len(questions), rate, seed)))


def arriving(
    options: ServiceOptions, questions: Sequence[Structure], times_s: Sequence[float]
) -> tuple[Service, list[Asked]]:
    """Questions that arrive at given times."""
    clock = Clock()
    service, asked, left = Service(clock, options), list[Asked](), [len(questions)]

    def ended() -> None:
        left[0] -= 1

    def come(question: Structure) -> None:
        asked.append(service.ask(question, ended))

    for question, time_s in zip(questions, times_s, strict=True):
        clock.after(time_s, lambda question=question: come(question))  # type: ignore[misc]
    clock.run(stop=lambda: not left[0])
    return service, asked


def _poisson(count: int, rate: float, seed: int) -> Iterator[float]:
    rng, now = random.Random(seed), 0.0
    for _ in range(count):
        now += rng.expovariate(rate)
        yield now
