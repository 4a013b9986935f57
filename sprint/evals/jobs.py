"""What a run has to do: which problem is answered for which time, with which seed, in which order.

It knows problems and numbers; nothing of who answers or where answers are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sprint.evals.asking import derived_seed
from sprint.evals.scorers import Sample


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to be had.

    place     where its line stands in the finished file: problem by problem
    turn      when it is asked: first every problem once, then every problem again
    number    which of the answers to its problem it is, from 1
    seed      what it is sampled with
    """

    place: int
    turn: int
    sample: Sample
    number: int
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        """What names it in a file."""
        return (self.sample.id, self.number)


class Plan(Sequence[Job]):
    """All jobs of a run, in the order in which they are asked. Made as they are needed, so that many take no room.

    The first answers to a problem have the sampling seeds themselves; each further one has a seed derived from them, so
    more samples leave those that there are as they are.
    """

    def __init__(self, samples: Sequence[Sample], seeds: Sequence[int], per_seed: int) -> None:
        self.samples = samples
        self._seeds = tuple(seeds)
        self.num_each = len(self._seeds) * per_seed

    def __len__(self) -> int:
        return len(self.samples) * self.num_each

    def __getitem__(self, turn: int) -> Job:  # type: ignore[override]  # jobs are asked for one by one
        if not 0 <= turn < len(self):
            raise IndexError(turn)
        again, problem = divmod(turn, len(self.samples))
        return Job(problem * self.num_each + again, turn, self.samples[problem], again + 1, self._seed(again))

    def turn_of(self, place: int) -> int:
        """The turn of the job whose line stands at `place`."""
        problem, again = divmod(place, self.num_each)
        return again * len(self.samples) + problem

    def places(self) -> dict[tuple[str, int], int]:
        """Where the line of each job stands, by its key."""
        return {job.key: job.place for job in self}

    def _seed(self, again: int) -> int:
        repeat, which = divmod(again, len(self._seeds))
        seed = self._seeds[which]
        return derived_seed(seed, "sample", repeat) if repeat else seed
