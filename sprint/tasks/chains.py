"""Chains: K chains of additions and subtractions, worked out one by one, then compared in a tournament.

The smallest task whose traces need several rounds: the chains do not depend on each other, a comparison depends on two
results. Running values stay in 0..top, so with a tokenizer that keeps small numbers whole each is one token. It knows
nothing of rounds or tags; the teacher writes plain prose.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from sprint.answers import normalise
from sprint.tasks.base import Grade, Options, Task, bounded

LABELS = "ABCDEFGH"
_TERM = re.compile(r"([+-])([0-9]+)")


@dataclass(frozen=True, slots=True)
class ChainsOptions(Options):
    """How many chains, how many operands in each, and the largest running value."""

    num_chains: int = bounded(6, 2, len(LABELS))
    num_operands: int = bounded(5, 2, 32)
    top: int = bounded(24, 1, 99)


class Chains(Task):
    """Which of some labelled chains of additions and subtractions is largest? The answer is its value."""

    name: ClassVar[str] = "chains"

    def __init__(self, options: ChainsOptions | None = None) -> None:
        self.options = options or ChainsOptions()

    def draw(self, rng: random.Random) -> Mapping[str, Any]:
        return {"chains": [self._draw_chain(rng) for _ in range(self.options.num_chains)]}

    def _draw_chain(self, rng: random.Random) -> str:
        value = rng.randint(0, self.options.top)
        chain = str(value)
        for _ in range(self.options.num_operands - 1):
            sign, operand = rng.choice(_moves(value, self.options.top))
            value += operand if sign == "+" else -operand
            chain += f"{sign}{operand}"
        return chain

    def key(self, data: Mapping[str, Any]) -> str:
        return "chains " + " ".join(sorted(data["chains"]))  # which chain bears which label changes nothing

    def question(self, data: Mapping[str, Any]) -> str:
        lines = [f"{label}: {chain}" for label, chain in zip(LABELS, data["chains"], strict=False)]
        return "\n".join(["Which chain is largest?", *lines])

    def answer(self, data: Mapping[str, Any]) -> str:
        return str(max(running_values(chain)[-1] for chain in data["chains"]))

    def respond(self, answer: str) -> str:
        return f"The largest value is \\boxed{{{answer}}}."

    def reason(self, data: Mapping[str, Any], rng: random.Random) -> tuple[str, str]:
        """Every chain in turn, then the tournament: pairs of neighbours, the odd one waits, until one is left."""
        labelled = list(zip(LABELS, data["chains"], strict=False))
        lines = [line for label, chain in labelled for line in _work_out(label, chain)]
        standing = [(label, running_values(chain)[-1]) for label, chain in labelled]
        while len(standing) > 1:
            pairs = list(zip(standing[::2], standing[1::2], strict=False))
            lines += [line for pair in pairs for line in _compare(*pair)]
            standing = [_winner(*pair) for pair in pairs] + standing[len(pairs) * 2 :]
        return "\n".join(lines), str(standing[0][1])

    def grade_answer(self, question: str, gold: str, answer: str) -> Grade:
        found = normalise(answer)
        if not re.fullmatch(r"-?[0-9]{1,9}", found):
            return Grade.NOT_AN_EXPRESSION
        return Grade.CORRECT if str(int(found)) == gold.strip() else Grade.WRONG_VALUE


def running_values(chain: str) -> list[int]:
    """The value after each operand of a chain such as `4+5-7`."""
    values = [int(re.split("[+-]", chain)[0])]
    for sign, operand in _TERM.findall(chain):
        values.append(values[-1] + (int(operand) if sign == "+" else -int(operand)))
    return values


def _moves(value: int, top: int) -> list[tuple[str, int]]:
    up = [("+", operand) for operand in range(1, 10) if value + operand <= top]
    return up + [("-", operand) for operand in range(1, 10) if value - operand >= 0]


def _work_out(label: str, chain: str) -> list[str]:
    values = running_values(chain)
    terms = _TERM.findall(chain)
    sums = [f"{a}{sign}{operand}={b}." for (a, b), (sign, operand) in zip(pairwise(values), terms, strict=True)]
    return [f"Let me work out {label}.", f"{label}: {chain}.", *sums, f"So {label}={values[-1]}."]


def _compare(first: tuple[str, int], second: tuple[str, int]) -> list[str]:
    (a, left), (b, right) = first, second
    sign = ">" if left > right else "<" if left < right else "="
    label, value = _winner(first, second)
    sides = [f"Now compare {a} with {b}.", f"{a}={left}.", f"{b}={right}."]
    return [*sides, f"{left}{sign}{right}.", f"So {label}={value} wins."]


def _winner(first: tuple[str, int], second: tuple[str, int]) -> tuple[str, int]:
    return first if first[1] >= second[1] else second
