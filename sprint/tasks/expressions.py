"""The countdown checker: an expression in, a grade out, exact and never evaluated as code.

It tokenises, parses by recursive descent (+ - * / and parentheses, in plain or LaTeX spelling), checks which numbers
were used, and computes with fractions. It knows nothing of teachers, solvers or how a problem was made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from sprint.tasks.base import Grade

MAX_CHARS = 400  # an honest answer is ten times shorter
MAX_DEPTH = 40
_LATEX = [
    (re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;:! ]|\$|\\[()\[\]]"), " "),
    (re.compile(r"\\(?:times|cdot)(?![a-z])|[\u00d7\u00b7\u2217\u22c5]"), "*"),
    (re.compile(r"\\div(?![a-z])|\u00f7"), "/"),
    (re.compile(r"[\u2212\u2013]"), "-"),
]
_TOKEN = re.compile(r"\s*(?:([0-9]{1,9})(?![0-9])|(\\[dt]?frac(?![a-z]))|([-+*/(){}]))")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written."""

    value: int


@dataclass(frozen=True, slots=True)
class Operation:
    """`left` `sign` `right`, with a sign of + - * /."""

    sign: str
    left: Expression
    right: Expression


Expression = Number | Operation


@dataclass(frozen=True, slots=True)
class Rules:
    """What a countdown question asks: reach `target` with `numbers`, each at most once.

    `use_all`: every number exactly once. `leading_minus`: a minus sign may stand before a number or parenthesis; it
    reaches nothing new (it can always be moved into a subtraction), but some public questions' gold answers have it.
    """

    numbers: tuple[int, ...]
    target: int
    use_all: bool = False
    leading_minus: bool = False


def check(text: str, rules: Rules) -> Grade:
    """The grade of a bare expression. Never raises; input too long or too deep is NOT_AN_EXPRESSION."""
    if not text.strip():
        return Grade.NO_ANSWER
    expression = parse_expression(text, leading_minus=rules.leading_minus)
    if expression is None:
        return Grade.NOT_AN_EXPRESSION
    given, used = Counter(rules.numbers), Counter(numbers_in(expression))
    if used.keys() - given.keys():
        return Grade.NUMBER_NOT_GIVEN
    if used - given:
        return Grade.NUMBER_REUSED
    if rules.use_all and given - used:
        return Grade.NUMBER_UNUSED
    value = value_of(expression)
    if value is None:
        return Grade.DIVISION_BY_ZERO
    return Grade.CORRECT if value == rules.target else Grade.WRONG_VALUE


def parse_expression(text: str, leading_minus: bool = False) -> Expression | None:
    """`text` as an expression, or None where it is anything else. A leading minus is read as `0 - x`, unused zero."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        parser = _Parser(tokens, leading_minus)
        expression = parser.sum(0)
        return expression if parser.peek() == "" else None
    except _NotAnExpressionError:
        return None


def numbers_in(expression: Expression) -> Iterator[int]:
    """Every number written in `expression`, in order."""
    if isinstance(expression, Number):
        yield expression.value
        return
    if expression.left is not _NOTHING:
        yield from numbers_in(expression.left)
    yield from numbers_in(expression.right)


def value_of(expression: Expression) -> Fraction | None:
    """The exact value, or None where it divides by zero."""
    if isinstance(expression, Number):
        return Fraction(expression.value)
    left, right = value_of(expression.left), value_of(expression.right)
    if left is None or right is None or (expression.sign == "/" and right == 0):
        return None
    return apply(expression.sign, left, right)


def apply(sign: str, left: Fraction, right: Fraction) -> Fraction:
    """One exact operation. `right` is not 0 where `sign` is /."""
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    return left * right if sign == "*" else left / right


# --- reading ---------------------------------------------------------------------------------------------------------

_NOTHING = Number(0)  # the unwritten left side of a leading minus; told apart from a written 0 by identity


class _NotAnExpressionError(Exception):
    """Stops the parser; never leaves this module."""


def _tokens(text: str) -> list[str] | None:
    if len(text) > MAX_CHARS:
        return None
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    tokens: list[str] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append("frac" if match[2] else match[1] or match[3])
        position = match.end()
    return tokens


class _Parser:
    """sum = product ((+|-) product)*; product = atom ((*|/) atom)*; atom = number | (sum) | frac{sum}{sum}."""

    def __init__(self, tokens: list[str], leading_minus: bool) -> None:
        self.tokens = tokens
        self.position = 0
        self.leading_minus = leading_minus

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if wanted and token not in wanted:
            raise _NotAnExpressionError
        self.position += 1
        return token

    def sum(self, depth: int) -> Expression:
        left = self.product(depth)
        while self.peek() in ("+", "-"):
            left = Operation(self.take(), left, self.product(depth))
        return left

    def product(self, depth: int) -> Expression:
        left = self.atom(depth + 1)
        while self.peek() in ("*", "/"):
            left = Operation(self.take(), left, self.atom(depth + 1))
        return left

    def atom(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise _NotAnExpressionError
        token = self.take()
        if token == "(":
            return self._enclosed(")", depth)
        if token == "frac":
            self.take("{")
            above = self._enclosed("}", depth)
            self.take("{")
            return Operation("/", above, self._enclosed("}", depth))
        if token == "-" and self.leading_minus:
            return Operation("-", _NOTHING, self.atom(depth + 1))
        if not token.isdigit():
            raise _NotAnExpressionError
        return Number(int(token))

    def _enclosed(self, close: str, depth: int) -> Expression:
        expression = self.sum(depth)
        self.take(close)
        return expression
