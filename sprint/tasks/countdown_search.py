"""How countdown is searched and how the teacher tells it: terms, moves, a solver, and the prose of branches and checks.

All values are positive whole numbers up to a bound, so a small tokenizer can keep each in one token. It knows nothing
of questions, grades or splits, and shares no code with the checker in `expressions`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

NUM_ATTEMPTS = 2  # how often a branch too wide to search is played to its end


@dataclass(frozen=True, slots=True)
class Term:
    """A value in hand and how it was made: `text` is the number itself or an expression."""

    value: int
    text: str

    @property
    def inner(self) -> str:
        """The text as an operand of a larger expression."""
        return self.text if self.text.isdigit() else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Move:
    """One operation on two terms in hand, what it makes, and the hand afterwards (the new term first)."""

    sides: str
    result: Term
    hand: tuple[Term, ...]

    @property
    def equation(self) -> str:
        return f"{self.sides}={self.result.value}"


def starting_hand(numbers: Sequence[int]) -> tuple[Term, ...]:
    return tuple(Term(number, str(number)) for number in numbers)


def moves(hand: Sequence[Term], largest: int) -> Iterator[Move]:
    """Every move whose result is whole and in 1..largest, pair by pair, larger operand first; none by a bare 1."""
    for i, j in combinations(range(len(hand)), 2):
        left, right = sorted((hand[i], hand[j]), key=lambda term: -term.value)
        rest = tuple(term for k, term in enumerate(hand) if k not in (i, j))
        for sign in "+-*/":
            value = _whole(left.value, sign, right.value)
            if value is None or not 0 < value <= largest or (sign in "*/" and right.value == 1):
                continue
            result = Term(value, f"{left.inner}{sign}{right.inner}")
            yield Move(f"{left.value}{sign}{right.value}", result, (result, *rest))


def solve(hand: Sequence[Term], target: int, largest: int) -> tuple[Move, ...] | None:
    """The first line of moves (depth first) that makes `target`, or None where none does."""
    return _solve(tuple(hand), target, largest, set())


def _solve(hand: tuple[Term, ...], target: int, largest: int, seen: set[tuple[int, ...]]) -> tuple[Move, ...] | None:
    values = tuple(sorted(term.value for term in hand))
    if values in seen:
        return None
    seen.add(values)
    for move in moves(hand, largest):
        if move.result.value == target:
            return (move,)
        if line := _solve(move.hand, target, largest, seen):
            return (move, *line)
    return None


def _whole(left: int, sign: str, right: int) -> int | None:
    if sign == "/":
        return left // right if right and left % right == 0 else None
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


# --- the teacher's prose ---------------------------------------------------------------------------------------------
#
# Terse, so that a small model learns it from scratch in minutes. What a line takes from elsewhere stands near by: a
# branch opens with the numbers that it leaves and the target, and ends with whether it hit. Every result says at once
# on which side of the target it lies, so that comparing is taught by every line and not only by the rare hit.


def full_branch(first: Move, target: int, largest: int) -> tuple[list[str], tuple[Move, ...]]:
    """A branch of which two terms are left: every operation on them. Lines, and the first hit (or nothing)."""
    lines, found = _opening(first, target), tuple[Move, ...]()
    left, right = sorted(first.hand, key=lambda term: -term.value)
    last = {move.sides: move for move in moves(first.hand, largest)}
    for sign in "+-*/":
        sides = f"{left.value}{sign}{right.value}"
        value = _whole(left.value, sign, right.value)
        if value is None:
            continue
        hits = value == target and sides in last
        lines.append(_hit(last[sides]) if hits else _miss(sides, value, target, largest))
        found = found or ((first, last[sides]) if hits else ())
    return [*lines, _verdict(found)], found


def sampled_branch(first: Move, target: int, largest: int, rng: random.Random) -> tuple[list[str], tuple[Move, ...]]:
    """A branch too wide to search: some plays to the end. Lines, and the line of moves that hit (or nothing)."""
    lines = _wide_opening(first, target)
    plays = {tuple(move.equation for move in line): line for line in _plays(first, target, largest, rng)}
    for number, line in enumerate(plays.values()):
        if number:
            lines.append(f"Back to {_listed(first.hand)}.")
        lines += [f"{move.equation}." for move in line[1:-1]]
        if line[-1].result.value == target:
            return [*lines, _hit(line[-1]), _verdict(line)], line
        lines.append(_miss(line[-1].sides, line[-1].result.value, target, largest))
    return [*lines, _verdict(())], ()


def winning_branch(line: Sequence[Move], target: int) -> list[str]:
    """The branch that goes straight to the target."""
    middle = [f"{move.equation}." for move in line[1:-1]]
    return [*_wide_opening(line[0], target), *middle, _hit(line[-1]), _verdict(line)]


def final_check(line: Sequence[Move], target: int) -> list[str]:
    """The found expression, worked out once more."""
    steps = [f"{move.equation}." for move in line]
    return [f"Let me check {line[-1].result.text}.", *steps, "No number is used twice.", f"So it is {target}."]


def _plays(first: Move, target: int, largest: int, rng: random.Random) -> list[tuple[Move, ...]]:
    return [_play(first, target, largest, rng) for _ in range(NUM_ATTEMPTS)]


def _play(first: Move, target: int, largest: int, rng: random.Random) -> tuple[Move, ...]:
    line = [first]
    while len(line[-1].hand) > 1 and (line[-1].result.value != target or len(line) == 1):
        line.append(rng.choice(list(moves(line[-1].hand, largest))))
    return tuple(line)


def _opening(first: Move, target: int) -> list[str]:
    rest = _listed(first.hand[1:])
    return [f"Let me try {first.sides} with {rest} for {target}.", f"{first.equation}."]


def _wide_opening(first: Move, target: int) -> list[str]:
    return [*_opening(first, target), f"Then {_listed(first.hand)} are left."]


def _miss(sides: str, value: int, target: int, largest: int) -> str:
    if value > largest:
        return f"{sides} big."
    return f"{sides}={value} {'low' if value < target else 'high'}." if value != target else f"{sides}={value}."


def _hit(last: Move) -> str:
    return f"{last.equation} is {last.result.text}."


def _verdict(found: Sequence[Move]) -> str:
    return "Found." if found else "Nothing."


def _listed(hand: Sequence[Term]) -> str:
    values = [str(term.value) for term in hand]
    return f"{', '.join(values[:-1])} and {values[-1]}" if len(values) > 1 else values[0]
