r"""Whether two final answers are the same, and by which rule: the one grader of curation and evaluation.

First as text, then as an option letter or words, then as mathematics. Nothing here raises on any text, and a comparison
that takes too long is given up. It knows nothing of tasks, prompts or where an answer stood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from sprint.mathematics import same_formula
from sprint.spelling import has_percent, normalise, squeezed


class Match(StrEnum):
    """By which rule two answers are the same, or that they are not."""

    EXACT = "exact"  # the same characters
    SPELLING = "spelling"  # the same once normalised
    LETTER = "letter"  # the gold answer's option letter
    WORDS = "words"  # the same words, in other capitals
    MATHEMATICS = "mathematics"  # the same value, set, formula
    DIFFERENT = "different"
    UNDECIDED = "undecided"  # too long, too deep or too slow to compare; counts as different

    @property
    def is_same(self) -> bool:
        return self not in (Match.DIFFERENT, Match.UNDECIDED)


def compare(gold: str, given: str) -> Match:
    """How `given` is, or is not, the answer `gold`.

    Not symmetric: the gold answer sets the form (`x=5` may be answered with `5`, `C` with `(C) 42`). Safe in any
    thread. Raises SprintError only where math-verify is needed and cannot be run.
    """
    if not gold.strip() or not given.strip():
        return Match.DIFFERENT
    if gold.strip() == given.strip():
        return Match.EXACT
    wanted, found = normalise(gold), normalise(given)
    if not wanted or not found:
        return Match.DIFFERENT
    if squeezed(wanted) == squeezed(found):
        return Match.SPELLING
    for rule in (_by_letter, _by_words, _by_numerals):
        if (match := rule(wanted, found)) is not None:
            break
    else:
        match = _by_mathematics(wanted, found)
    if not match.is_same and has_percent(gold) != has_percent(given):  # 50 % may be answered with 50 or with 0.5
        return _by_mathematics(*(_value(text, answer) for text, answer in ((wanted, gold), (found, given))))
    return match


def _value(text: str, answer: str) -> str:
    return rf"\frac{{{text}}}{{100}}" if has_percent(answer) else text


def same_answer(gold: str, given: str) -> bool:
    """Whether `given` is the answer `gold` (see `compare`)."""
    return compare(gold, given).is_same


def same_text(gold: str, given: str) -> bool:
    """The simplest grader of all: the same characters, but for white space at the ends."""
    return bool(gold.strip()) and gold.strip() == given.strip()


def same_spelling(gold: str, given: str) -> bool:
    """A grader that knows spelling and no mathematics."""
    wanted = squeezed(normalise(gold))
    return bool(wanted) and wanted == squeezed(normalise(given))


GRADER = "equivalence"
GRADERS: Mapping[str, Callable[[str, str], bool]] = {
    GRADER: same_answer,
    "spelling": same_spelling,
    "exact": same_text,
}


# --- rules: a verdict, or None where the rule has nothing to say ------------------------------------------------------

_LETTER = re.compile(r"\(?([A-J])\)?")
_CHOICE = re.compile(
    r"(?:(?:the |correct )*(?:option|choice|answer)(?: is)?:? )?"
    r"(?-i:\(?([A-J])(?:\)?$|[).:]+(?=[^.]|$)|\)\s*(?=\S)|\s+(?=[^\sa-z,])))",
    re.IGNORECASE,
)
_SMALL_LETTER = re.compile(r"\(?([a-j])\)?[.:]?")
_LETTERS = re.compile(r"[A-J](?:(?:, ?(?:and )?| and )[A-J])+")
_WORD = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z'-]*(?: [A-Za-z][A-Za-z'-]*)*")
_CLOCK = re.compile(r"[0-9]+(?::[0-9]+)+(?: ?[ap]m)?", re.IGNORECASE)
_BASE = re.compile(r"[0-9A-F]+_\{?[0-9]+\}?")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?")
_CLEARLY_APART = 1e-3


def _verdict(same: bool, match: Match) -> Match:
    return match if same else Match.DIFFERENT


def _by_letter(wanted: str, found: str) -> Match | None:
    if _LETTERS.fullmatch(wanted):
        return _verdict(re.findall(r"\b[A-J]\b", wanted) == re.findall(r"\b[A-J]\b", found), Match.LETTER)
    gold = _LETTER.fullmatch(wanted)
    if gold is None:
        return None
    choice = _CHOICE.match(found) or _SMALL_LETTER.fullmatch(found)
    return _verdict(choice is not None and choice[1].upper() == gold[1], Match.LETTER)


def _by_words(wanted: str, found: str) -> Match | None:
    """Words are not products of their letters, and times of day and ratios no fractions."""
    for kind in (_WORD, _CLOCK):
        if kind.fullmatch(wanted) and (kind is _WORD or kind.fullmatch(found)):
            return _verdict(squeezed(wanted).casefold() == squeezed(found).casefold(), Match.WORDS)
    return None


def _by_numerals(wanted: str, found: str) -> Match | None:
    """Numbers that differ as written, before rounding could make them the same."""
    if _BASE.fullmatch(wanted) and _BASE.fullmatch(found):
        return Match.DIFFERENT  # digits and base both written, and not the same text
    plain = _PLAIN_NUMBER.fullmatch(wanted) and _PLAIN_NUMBER.fullmatch(found)
    return Match.DIFFERENT if plain and abs(float(wanted) - float(found)) >= _CLEARLY_APART else None


def _by_mathematics(wanted: str, found: str) -> Match:
    if not (_is_tame(wanted) and _is_tame(found)):
        return Match.UNDECIDED
    if _LOOSE_NUMBERS.search(wanted) or _LOOSE_NUMBERS.search(found):
        return Match.DIFFERENT  # the library would add up numbers that only stand side by side
    same = same_formula(wanted, found)
    return Match.UNDECIDED if same is None else _verdict(same, Match.MATHEMATICS)


# --- what may be read as mathematics ---------------------------------------------------------------------------------

_MAX_CHARS = 300  # longer strings are prose or an attack
_MAX_NESTING = 24
_LOOSE_NUMBERS = re.compile(r"(?:^|[^_^0-9])[0-9]+ +[0-9]")
_SAFE = re.compile(r"\([a-z] ?[-+] ?[0-9]\)!|\\binom\{[0-9]{1,4}\}\{[0-9]{1,4}\}")
_GIANT = re.compile(
    r"\^\s*\{?\s*-?[0-9]{6}|\^\s*[0-9]+\s*\^|[)}]\s*\^\s*\{?\s*-?[0-9]{3}|[0-9]{5}\s*!|[!)}]\s*!"
    r"|\\[dt]?binom\s*\{[^{}]*(?:\^|[0-9]{5})"
)


def _is_tame(text: str) -> bool:
    """Whether the library is asked at all: `text` is of modest size, and no plain recipe for a number without end.

    Whatever is wild beyond this is left to the time limit; this only spares the wait.
    """
    return len(text) <= _MAX_CHARS and not _GIANT.search(_SAFE.sub("", text)) and not _has_tower(text)


def _has_tower(text: str) -> bool:
    """Whether braces nest too deep, or a number is raised to a power inside an exponent."""
    exponents: list[bool] = []
    for i, char in enumerate(text):
        if char in "({[":
            exponents.append(text[:i].rstrip().endswith("^"))
        elif char in ")}]" and exponents:
            exponents.pop()
        elif char == "^" and any(exponents) and text[:i].rstrip()[-1:] in tuple("0123456789)}"):
            return True
        if len(exponents) > _MAX_NESTING:
            return True
    return False
