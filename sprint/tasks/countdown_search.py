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


def full_branch(first: Move, target: int, largest: int) -> tuple[list[str], tuple[Move, ...]]:
    """A branch of which two terms are left: every operation on them until one hits. Lines, and the hit (or nothing)."""
    lines = _opening(first)
    left, right = sorted(first.hand, key=lambda term: -term.value)
    last = {move.sides: move for move in moves(first.hand, largest)}
    for sign in "+-*/":
        sides = f"{left.value}{sign}{right.value}"
        value = _whole(left.value, sign, right.value)
        if value == target and sides in last:
            return [*lines, f"{sides}={target}, the target.", _gives(first, last[sides])], (first, last[sides])
        lines.append(_miss(sides, value, target, largest))
    return [*lines, _gives_nothing(first, target)], ()


def sampled_branch(first: Move, target: int, largest: int, rng: random.Random) -> tuple[list[str], tuple[Move, ...]]:
    """A branch too wide to search: some plays to the end. Lines, and the line of moves that hit (or nothing)."""
    lines = _opening(first)
    plays = {tuple(move.equation for move in line): line for line in _plays(first, target, largest, rng)}
    for number, line in enumerate(plays.values()):
        if number:
            lines.append(f"Back to {_listed(first.hand)}.")
        lines += [f"{move.equation}." for move in line[1:-1]]
        if line[-1].result.value == target:
            return [*lines, f"{line[-1].equation}, the target.", _gives(first, line[-1])], line
        lines.append(f"{line[-1].equation}, not {target}.")
    return [*lines, _gives_nothing(first, target)], ()


def winning_branch(line: Sequence[Move]) -> list[str]:
    """The branch that goes straight to the target."""
    middle = [f"{move.equation}." for move in line[1:-1]]
    return [*_opening(line[0]), *middle, f"{line[-1].equation}, the target.", _gives(line[0], line[-1])]


def final_check(line: Sequence[Move], target: int) -> list[str]:
    """The found expression, worked out once more."""
    expression = line[-1].result.text
    steps = [f"{move.equation}." for move in line]
    closing = ["Each number is used at most once.", f"So {expression} equals {target}."]
    return [f"Let me check {expression}.", *steps, *closing]


def _plays(first: Move, target: int, largest: int, rng: random.Random) -> list[tuple[Move, ...]]:
    return [_play(first, target, largest, rng) for _ in range(NUM_ATTEMPTS)]


def _play(first: Move, target: int, largest: int, rng: random.Random) -> tuple[Move, ...]:
    line = [first]
    while len(line[-1].hand) > 1 and (line[-1].result.value != target or len(line) == 1):
        line.append(rng.choice(list(moves(line[-1].hand, largest))))
    return tuple(line)


def _opening(first: Move) -> list[str]:
    return [f"Let me try starting with {first.sides}.", f"{first.equation}.", f"Then {_listed(first.hand)} are left."]


def _miss(sides: str, value: int | None, target: int, largest: int) -> str:
    if value is None:
        return f"{sides} is not whole."
    return f"{sides} is over {largest}." if value > largest else f"{sides}={value}, not {target}."


def _gives(first: Move, last: Move) -> str:
    return f"So starting with {first.sides} gives {last.result.text}."


def _gives_nothing(first: Move, target: int) -> str:
    return f"So starting with {first.sides} I do not see {target}."


def _listed(hand: Sequence[Term]) -> str:
    values = [str(term.value) for term in hand]
    return f"{', '.join(values[:-1])} and {values[-1]}"
