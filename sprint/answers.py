r"""Final answers: finding them in a model's text and saying whether two are the same.

It knows LaTeX's habits (`\boxed{…}`, `\dfrac`, units, thousands separators) and that math-verify decides what plain
text cannot. It knows nothing of tasks, prompts or who wrote the text. Model text is parsed, never evaluated, and
nothing here raises on any text.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

COMPARE_TIMEOUT_S = 10.0
_MAX_MATH_CHARS = 300  # longer strings are prose or an attack; the LaTeX parser would spend seconds on them
_MAX_NESTING = 24

_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
# White space after a stop, an empty line, or a line break before a capital; in one branch, to run from space to space.
_SENTENCE_END = re.compile(r"\s(?:(?<=[.!?]\s)\s*|(?<=\n)\s*\n|(?<=\n)(?=[A-Z*]))")


def boxed(answer: str) -> str:
    """`answer` as a model is asked to write it."""
    return f"\\boxed{{{answer}}}"


def last_boxed(text: str) -> str | None:
    r"""The contents of the last `\boxed{…}` whose braces are balanced (nested braces included), or None."""
    span = _last_boxed_span(text)
    if span is None:
        return None
    return text[span[0] : span[1]].split("{", 1)[1][:-1].strip()


def final_sentence(response: str) -> str:
    """The last sentence that holds a boxed answer, or "" where none does (paper appendix: the final answer text).

    A box that runs over several sentences or lines brings all of them.
    """
    span = _last_boxed_span(response)
    if span is None:
        return ""
    start = max((end.end() for end in _SENTENCE_END.finditer(response, 0, span[0])), default=0)
    stop = _SENTENCE_END.search(response, span[1])
    return response[start : stop.start() if stop else len(response)].strip()


def _last_boxed_span(text: str) -> tuple[int, int] | None:
    """Start and end of the last box that closes. One pass, so a text of a million open boxes costs no more."""
    first = text.find("\\boxed")
    if first < 0:
        return None
    open_braces: list[tuple[int, bool]] = []
    found: tuple[int, int] | None = None
    for match in _BRACES.finditer(text, text.rfind("\n", 0, first) + 1):  # a line break is no part of an escape's end
        if match[0] == "}":
            start, is_box = open_braces.pop() if open_braces else (0, False)
            if is_box and (found is None or start > found[0]):
                found = (start, match.end())
        elif match[0].endswith("{") and match[0] != r"\{":
            open_braces.append((match.start(), match[0] != "{"))
    return found


# --- the same answer? ------------------------------------------------------------------------------------------------

_SPACING = r"(?<!\\)\\(?:[!,;: ()\[\]]|(?:left|right|displaystyle)(?![a-z]))"  # not the `\\` that ends a matrix row
_DROPPED = re.compile(rf"{_SPACING}|\\?[$%]|~|\u00b0|\^\{{?\\circ\}}?")
_TEXT = r"\\(?:text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}"
_UNIT = re.compile(rf"(?<=[^\s=,]){_TEXT}(?:\^\{{?\d\}}?)?$")
_THOUSANDS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_LETTER = re.compile(r"\(?([A-J])\)?")
_CHOICE = re.compile(r"\(?([A-Ja-j])(?:\)?$|[).:]+(?=[^.]|$)|\)?\s+(?=\S))")
_WORD = re.compile(r"[A-Za-z]{3,}")
_SAFE = re.compile(r"\([a-z] ?[-+] ?[0-9]\)!|\\binom\{[0-9]{1,4}\}\{[0-9]{1,4}\}")
_GIANT = re.compile(
    r"\^\s*\{?\s*-?[0-9]{6}|\^\s*[0-9]+\s*\^|[)}]\s*\^\s*\{?\s*-?[0-9]{3}|[0-9]{5}\s*!|[!)}]\s*!|\\[dt]?binom"
)
_BASE = re.compile(r"[0-9A-F]+_\{?[0-9]+\}?")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?")
_CLEARLY_APART = 1e-3


def normalise(answer: str) -> str:
    r"""`answer` without what changes nothing: spacing, dollar signs, units, `\dfrac`, a closing full stop."""
    text = re.sub(r",\s*\\!\s*", "", answer.strip().rstrip(".").replace("\u2212", "-"))
    text = _DROPPED.sub("", text.strip("$ ")).strip().rstrip(".")
    text = re.sub(_TEXT, r"\1", _UNIT.sub("", text))
    text = re.sub(r"\\[dt]frac(?![a-z])", r"\\frac", text)
    text = re.sub(r"\\frac\s*([0-9a-z])\s*([0-9a-z])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-z])", r"\\frac\1{\2}", text)
    text = re.sub(r"\\sqrt\s*([0-9a-z])", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![0-9])\.(?=[0-9])", "0.", re.sub(r"\s+", " ", text).strip())
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def same_answer(gold: str, given: str) -> bool:
    """Whether `given` is the answer `gold`: first as text, then as an option letter, then as mathematics.

    Not symmetric: the gold answer sets the form (`x=5` may be answered with `5`, `C` with `(C) 42`). Never raises; a
    comparison that does not finish within COMPARE_TIMEOUT_S seconds is False. Safe in any thread: no signals.
    """
    wanted, found = normalise(gold), normalise(given)
    if not wanted or not found:
        return False
    if _squeezed(wanted) == _squeezed(found):
        return True
    if letter := _LETTER.fullmatch(wanted):
        choice = _CHOICE.match(found)
        return choice is not None and choice[1].upper() == letter[1]
    if _WORD.fullmatch(wanted):
        return wanted.casefold() == found.casefold()  # a word is not a product of its letters
    if _BASE.fullmatch(wanted) and _BASE.fullmatch(found):
        return False  # digits and base both written, and not the same text
    if _PLAIN_NUMBER.fullmatch(wanted) and _PLAIN_NUMBER.fullmatch(found) and not _are_close(wanted, found):
        return False
    if not (_is_tame(wanted) and _is_tame(found)):
        return False
    import math_verify  # noqa: F401  # the first import takes seconds, which are not the comparison's

    return _within(COMPARE_TIMEOUT_S, lambda: _same_mathematics(wanted, found))


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", re.sub(r"_\{([0-9])\}", r"_\1", text))


def _are_close(wanted: str, found: str) -> bool:
    """Whether two plain numbers may still be the same after rounding, which is not decided here."""
    return abs(float(wanted) - float(found)) < _CLEARLY_APART


def _is_tame(text: str) -> bool:
    """Whether sympy may see `text`: of modest size, and nothing in it that would make a number of millions of digits.

    Exact arithmetic on such a number cannot be interrupted, so it must not begin; slower things are left to the clock.
    """
    return len(text) <= _MAX_MATH_CHARS and not _GIANT.search(_SAFE.sub("", text)) and not _has_tower(text)


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


def _same_mathematics(wanted: str, found: str) -> bool:
    import logging

    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns whenever its signal-based timeouts are off
    # The LaTeX reader only: the library's plain-expression reader goes through `eval`.
    reader = [LatexExtractionConfig()]
    gold, given = (parse(f"${text}$", extraction_config=reader, parsing_timeout=None) for text in (wanted, found))
    return bool(verify(gold, given, timeout_seconds=None))


def _within(seconds: float, question: Callable[[], bool]) -> bool:
    """The answer to `question`, or False when it raises or takes longer. The late thread is a daemon, left behind."""
    answer: list[bool] = []

    def ask() -> None:
        try:
            answer.append(question())
        except Exception:  # whatever a mathematics library throws at odd text means: not the same
            answer.append(False)

    thread = threading.Thread(target=ask, daemon=True, name="same-answer")
    thread.start()
    thread.join(seconds)
    return bool(answer and answer[0])
