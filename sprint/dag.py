"""The dependency graph of a trace's steps, as parent lists (paper §3.2(2)).

A graph is a sequence of parent lists: entry `i - 1` holds the parents of step `i`. A step's parents come before it, so
numeric order is topological order and there are no cycles. Knows nothing of texts or rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

Parents = Sequence[Sequence[int]]


def bad_parent(parents: Parents) -> tuple[int, int] | None:
    """The first (step, parent) where the parent is not an earlier step, or None when the graph is sound."""
    for step, of_step in enumerate(parents, 1):
        for parent in of_step:
            if not 1 <= parent < step:
                return step, parent
    return None


def ancestors(parents: Parents) -> tuple[frozenset[int], ...]:
    """For each step, every step it depends on, directly or through others."""
    found: list[frozenset[int]] = []
    for of_step in parents:
        found.append(frozenset(of_step).union(*(found[parent - 1] for parent in of_step)))
    return tuple(found)


def longest_path(parents: Parents, weights: Sequence[int]) -> int:
    """The heaviest chain of dependent steps, each step counting its weight: 1 for an executed step gives the least
    number of rounds, its tokens the least sequential tokens.
    """
    heaviest: list[int] = []
    for of_step, weight in zip(parents, weights, strict=True):
        heaviest.append(weight + max((heaviest[parent - 1] for parent in of_step), default=0))
    return max(heaviest, default=0)
