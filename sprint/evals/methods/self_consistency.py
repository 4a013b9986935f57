"""Self-consistency: many samples of one question at once, and a vote (Wang et al. 2022; the paper's baseline, §4.1).

Votes are counted by whether answers are the same, not by how they are spelt. It does not know how that is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sprint.answers import last_boxed
from sprint.evals.asking import Answer, Asker, Call, derived_seed
from sprint.evals.methods.posing import Posing
from sprint.evals.methods.trip import Trip

Same = Callable[[str, str], bool]
Find = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class SelfConsistency:
    """`votes` samples at once; what most of them answer is the answer, of tied answers the one that was sampled first.

    Samples in which `find` finds no answer do not vote. The first sample has the rollout's own seed, so it is what
    method `sequential` would give.
    """

    posing: Posing
    same: Same
    votes: int
    find: Find = last_boxed
    name: str = "self-consistency"

    async def __call__(self, asker: Asker, question: str, seed: int, *, timeline: bool = False) -> Answer:
        """See `Method`."""
        trip = Trip(asker)
        text = self.posing.posed(question)
        seeds = [seed, *(derived_seed(seed, "vote", number) for number in range(2, self.votes + 1))]
        calls = [Call(text, one, "sequential", kind="execution", number=n) for n, one in enumerate(seeds, 1)]
        answers = await trip.ask_all(calls)
        usage, wall_s = trip.usage(num_rounds=0, num_executions=self.votes), trip.wall_s
        voted = [self.find(answer.text) or "" for answer in answers]
        elected = await asyncio.to_thread(majority, voted, self.same)  # comparing formulas can take seconds
        chosen = answers[elected]
        return Answer(
            chosen.text,
            chosen.reasoning,
            usage,
            wall_s,
            chosen.stop_reason,
            self.name,
            trip.calls if timeline else (),
            chosen.written,
            trip.calls,
        )


def majority(answers: Sequence[str], same: Same) -> int:
    """The place of the first answer of the largest group of equal ones; 0 where there is no answer at all.

    An answer joins the first group whose first member it equals, in either order of asking; equal spellings are not
    compared twice. Of groups of one size, the one that began first wins.
    """
    groups: list[list[int]] = []
    group_of: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if not answer:
            continue
        if answer not in group_of:
            known = (group for group in groups if _equal(answers[group[0]], answer, same))
            group_of[answer] = next(known, [])
            if not group_of[answer]:
                groups.append(group_of[answer])
        group_of[answer].append(place)
    return max(groups, key=len)[0] if groups else 0


def _equal(first: str, second: str, same: Same) -> bool:
    return same(first, second) or same(second, first)
