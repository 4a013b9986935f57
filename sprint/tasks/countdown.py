"""Countdown: reach a target with some numbers and + - * /.

The teacher tries first moves one after the other, tersely, then checks what it found. Every branch starts again from
the given numbers, so the branches do not depend on each other; nothing in the prose says so. The searching stands in
`countdown_search`; answers are graded by `expressions`, which shares no code with it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sprint.errors import InputError
from sprint.tasks.base import Grade, Options, Task, bounded
from sprint.tasks.countdown_search import (
    Move,
    final_check,
    full_branch,
    moves,
    sampled_branch,
    solve,
    starting_hand,
    winning_branch,
)
from sprint.tasks.expressions import Rules, check

_TWO_DIGITS = 99  # targets up to here keep all values small, one token each; otherwise:
_LARGEST_WIDE = 9_999
_NUMBERS = re.compile(r"numbers:?\s*\[?\s*([0-9]{1,9}(?:(?:\s*,\s*and\s+|\s*,\s*|\s+and\s+)[0-9]{1,9})*)")
_TARGET = re.compile(r"(?:reach|make|equals?|equal to|Calculate|target(?: is|:)?)\s+([0-9]{1,9})(?![0-9])")


@dataclass(frozen=True, slots=True)
class CountdownOptions(Options):
    """How many numbers, how large they and the target may be, and how many first moves the teacher shows at most."""

    num_numbers: int = bounded(3, 3, 6)
    max_number: int = bounded(10, 3, 99)
    max_target: int = bounded(50, 10, 999)
    max_branches: int = bounded(12, 2, 16)


class Countdown(Task):
    """Reach the target with the numbers, each at most once."""

    name: ClassVar[str] = "countdown"

    def __init__(self, options: CountdownOptions | None = None) -> None:
        self.options = options or CountdownOptions()

    @property
    def largest(self) -> int:
        """The largest value that the teacher goes on with: no more than need be, as each is a fact to be learned."""
        most = max(self.options.max_target, self.options.max_number)
        return most if self.options.max_target <= _TWO_DIGITS else _LARGEST_WIDE

    def draw(self, rng: random.Random) -> Mapping[str, Any]:
        """Numbers, the largest first, and a target that some play of all reaches and no number or single move does."""
        while True:
            drawn = (rng.randint(1, self.options.max_number) for _ in range(self.options.num_numbers))
            numbers = sorted(drawn, reverse=True)
            hand = starting_hand(numbers)
            early = set(numbers) | {move.result.value for move in moves(hand, self.largest)}
            while len(hand) > 1 and (possible := list(moves(hand, self.largest))):
                hand = rng.choice(possible).hand
            target = hand[0].value
            if len(hand) == 1 and target <= self.options.max_target and target not in early:
                return {"numbers": numbers, "target": target}

    def key(self, data: Mapping[str, Any]) -> str:
        return f"countdown {sorted(data['numbers'])} {data['target']}"

    def question(self, data: Mapping[str, Any]) -> str:
        numbers = ", ".join(map(str, data["numbers"]))
        return f"Use the numbers {numbers}, each at most once, with +, -, * and / to reach {data['target']}."

    def answer(self, data: Mapping[str, Any]) -> str:
        return self._solution(data)[-1].result.text

    def respond(self, answer: str) -> str:
        return f"One way is \\boxed{{{answer}}}."

    def reason(self, data: Mapping[str, Any], rng: random.Random) -> tuple[str, str]:
        """Branches for first moves, then a check of the first expression found."""
        possible = {move.sides: move for move in moves(starting_hand(data["numbers"]), self.largest)}
        if len(data["numbers"]) == 3 and len(possible) <= self.options.max_branches:
            lines, found = self._search_all(list(possible.values()), data["target"])
        else:
            lines, found = self._search_some(possible, data, rng)
        return "\n".join([*lines, *final_check(found, data["target"])]), found[-1].result.text

    def _search_all(self, firsts: list[Move], target: int) -> tuple[list[str], tuple[Move, ...]]:
        """Every first move, also after a hit: which ones to try is then a matter of the numbers alone."""
        branches = [full_branch(first, target, self.largest) for first in firsts]
        found = next(line for _, line in branches if line)
        return [text for lines, _ in branches for text in lines], found

    def _search_some(
        self, possible: dict[str, Move], data: Mapping[str, Any], rng: random.Random
    ) -> tuple[list[str], tuple[Move, ...]]:
        """A few first moves at random until one happens to hit, else at last the solver's."""
        solution = self._solution(data)
        wrong = [first for sides, first in possible.items() if sides != solution[0].sides]
        num_wrong = min(len(wrong), rng.randint(1, self.options.max_branches - 1))
        text: list[str] = []
        for first in rng.sample(wrong, num_wrong):
            lines, found = sampled_branch(first, data["target"], self.largest, rng)
            text += lines
            if found:
                return text, found
        return text + winning_branch(solution, data["target"]), solution

    def _solution(self, data: Mapping[str, Any]) -> tuple[Move, ...]:
        line = solve(starting_hand(data["numbers"]), data["target"], self.largest)
        if line is None:
            raise InputError(
                f"{data['target']} cannot be made of {data['numbers']} in whole steps up to {self.largest}"
            )
        return line

    def grade_answer(self, question: str, gold: str, answer: str) -> Grade:
        return check(answer, rules_of(question))


def rules_of(question: str) -> Rules:
    """Numbers, target and rules, read back from the text of a question (this task's wording or a common public one).

    "Using all the numbers" asks for every number once. Raises InputError when numbers or target are not found.
    """
    numbers, target = _NUMBERS.search(question), _TARGET.search(question)
    if numbers is None or target is None:
        message = f"no numbers and target in {question[:80]!r}, expected 'Use the numbers 3, 5, 7 to reach 22'"
        raise InputError(message, field="question")
    given = tuple(int(number) for number in re.findall(r"[0-9]+", numbers[1]))
    ours = question.startswith("Use the numbers")
    use_all = re.search(r"\ball (?:of )?(?:the |these )?numbers", question) is not None
    return Rules(given, int(target[1]), use_all=use_all, leading_minus=not ours)
