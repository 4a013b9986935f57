"""What a step produces and what it uses: labelled results (A=9), numbers, and expressions it stands on.

Reads plain text and LaTeX by regular expressions, line by line; it never evaluates anything. Knows nothing of words
beyond "is", "equals", "gives", nor of how steps were found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
# Patterns of what is rare in prose begin with the one character to look for: the search then runs from one to the next.
_NUMBERS = re.compile(r"\d(?:(?<![A-Za-z_\d.]\d)\d*(?:,\d{3})+(?:\.\d+)?|\d*(?:\.\d+)?(?![A-Za-z_\d]))")
_TEX_NOISE = re.compile(r"\\(?:left|right|,|;|!|quad|qquad|\(|\)|\[|\]|displaystyle|cdot|times)|\$|\*\*")
_EQUALS = r"\s*(?:=|\bis\b|\bequals\b|\bare\b)\s*"
_LABELLED = re.compile(
    rf"([A-Za-z](?![A-Za-z])(?<![A-Za-z\\_\d^/+*-][A-Za-z])(?:_\{{?\w{{1,3}}\}}?|\d|')?){_EQUALS}"
    r"([^\s,;=.](?:[^,;=\n.]|\.\d){0,60})"
)
_RESULT = re.compile(  # of lower-case text: that is quicker than to ignore case
    r"(?:=|\b(?:is|are|equals|gives|get|becomes|makes|have|leaves|yields)\b|^\s*(?:so|thus|therefore)\b,?)"
    rf"\s*(?:\w{{1,30}}\s)?(-?(?:{_NUMBER}))(?![A-Za-z_\d]|\s*[-+*/^])"
)
_CONCLUDES = re.compile(r"\s*(?:so|thus|therefore|hence|which (?:gives|means)|then)\b", re.I)
_INNER = re.compile(r"\(([^()]{5,60})\)")
_SYMBOL = re.compile(  # a single letter that stands for something; "a", "A" and "I" are words unless beside maths
    r"[A-Za-z](?![A-Za-z'’])(?<![A-Za-z\\'’_{][A-Za-z])"
    r"(?:(?<=[B-HJ-Zb-z])|(?<=[aAI])(?=\s?[=+*/^(_\d])|(?<=[\d=+*/^(][aAI]))"
    r"(?:(?:_\{?\w{1,3}\}?|\d(?!\d))(?![A-Za-z'’]))?"
)
_VALUE = re.compile(r"[-+\d(\\A-Za-z][^ ]*(?: +[-+*/^] +[^ ]+)*")
_RUN = re.compile(r"(?:(=|\b(?:gives|is|equals|get)\b)\s*)?((?<![\w)])[\w(][\w()+*/^-]{4,60})")
_OPERATOR = re.compile(r"[-+*/^]|\\frac|\\sqrt")
# Cheap to look for, before anything is looked for in earnest: what may be a digit, and one in a run with an operator.
_DIGIT = re.compile(r"[^\W_a-zA-Z]")
_TIGHT = re.compile(r"[^\W_a-zA-Z][\w()+*/^-]{0,60}[-+*/^]|[-+*/^][\w()+*/^-]{0,60}[^\W_a-zA-Z]")


Key = tuple[str, str]


@dataclass
class Quantities:
    """What one step has to do with numbers. `used` holds keys in order of first use, `produced` those it leaves behind.

    Keys are `("label", "A")`, `("number", "9")` and `("expression", "2-2b")`. `mentions` says whether the step names
    any number at all, `loose` whether it stands on a small one that the question does not give: it came from somewhere,
    but a digit does not say from where.
    """

    used: dict[Key, None] = field(default_factory=dict)
    produced: dict[Key, str] = field(default_factory=dict)
    mentions: bool = False
    loose: bool = False


def plain(text: str) -> str:
    """The text with LaTeX's typographical commands blanked."""
    return _TEX_NOISE.sub(" ", text) if "\\" in text or "$" in text or "**" in text else text


def numbers(text: str) -> list[str]:
    """The numbers in the text, in order, without thousands separators and idle zeros."""
    return [_canonical(found) for found in _NUMBERS.findall(plain(text))]


def symbols(text: str) -> list[str]:
    """The single-letter symbols in the text, with their subscripts, in order."""
    return _SYMBOL.findall(plain(text))


def _canonical(number: str) -> str:
    if number.isdigit() and number[0] != "0":
        return number
    digits = number.replace(",", "")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits.lstrip("0") or "0"


def _key(value: str) -> str:
    """A value written in one way: no spaces, no closing punctuation, numbers canonical."""
    squeezed = "".join(value.split()).rstrip(".?!:")
    if "." not in squeezed and "," not in squeezed:
        return squeezed
    return _NUMBERS.sub(lambda match: _canonical(match[0]), squeezed)


class Reader:
    """Reads steps in order and remembers the value of every label so far."""

    def __init__(self, question: str) -> None:
        self.given = frozenset(numbers(question))
        self.question = _key(plain(question))
        self.symbols = frozenset(symbols(question))
        self.values: dict[str, str] = {}
        self.results: set[str] = set()

    def read(self, step_lines: Sequence[str], afresh: bool = False) -> Quantities:
        """The quantities of the next step, its lines in order.

        A step that starts `afresh` (another way, a check) works out again what others have found, so naming a symbol
        does not make it depend on them; taking over a value does.
        """
        step = _StepReader(self, afresh)
        texts = [plain(line) for line in step_lines]
        for text in texts:
            step.read(text)
        step.read_symbols(texts)
        self.values |= {name: value for (kind, name), value in step.found.produced.items() if kind == "label"}
        self.results |= {name for kind, name in step.found.produced if kind == "number"}
        return step.found


class _StepReader:
    """Reads one step. What the step itself brought up is no dependency when it comes up again."""

    def __init__(self, trace: Reader, afresh: bool) -> None:
        self.found = Quantities()
        self._trace, self._afresh = trace, afresh
        self._own: set[str] = set()  # numbers and expressions that the step has named so far
        self._familiar = set(trace.given)  # numbers that the step or the question has named
        self._restated: set[str] = set()  # values that it took over from earlier steps
        self._labels: set[str] = set()  # labels that it gave a value itself

    def read(self, line: str) -> None:
        if not _DIGIT.search(line):
            return  # values, numbers and expressions all have one
        for label, right in _LABELLED.findall(line):
            if value := _value(right):
                self._read_label(label, value, bool(_CONCLUDES.match(line)))
        self._read_numbers(line)
        if _OPERATOR.search(line):
            self._read_expressions(line)

    def _read_label(self, label: str, value: str, concludes: bool) -> None:
        """`A=9` takes over a known result unless the step concludes it, or worked the value out before naming it."""
        known = self._trace.values.get(label) == value and label not in self._labels
        if known and not concludes and (value not in self._own or value in self._restated):
            self._use("label", label)
            self._restated.add(value)
            return
        self.found.produced["label", label] = value
        self._labels.add(label)

    def _read_numbers(self, line: str) -> None:
        written = _NUMBERS.findall(line)
        self.found.mentions |= bool(written)
        if self._familiar.issuperset(written):
            self._own.update(written)
            return
        results: set[int] | None = None
        for place, match in enumerate(_NUMBERS.finditer(line)):
            number = _canonical(match[0])
            self._own.add(number)
            if number in self._familiar:
                continue
            self._familiar.add(number)
            if number not in self._restated and self._says_something(number, line, match):
                results = _results(line) if results is None else results
                is_result = match.start() in results or match.start() - 1 in results
                self._new_number(number, is_result and not self._recalls(line, number, place == 0))

    def _says_something(self, number: str, line: str, match: re.Match[str]) -> bool:
        """Digits are everywhere, so they name nothing; all that counts is that one stood alone."""
        return len(number) > 1 or (number > "2" and not self.found.loose and _stands_alone(line, match))

    def _recalls(self, line: str, number: str, is_first: bool) -> bool:
        """Whether the line takes over a result: "The speed is 30"; "8 squared is 64" and "4*16=64" work one out."""
        known = number in self._trace.results and not self._afresh
        return known and is_first and not _CONCLUDES.match(line)

    def _new_number(self, number: str, is_result: bool) -> None:
        if len(number) == 1:
            self.found.loose = not is_result
        elif is_result:
            self.found.produced["number", number] = number
        else:
            self._use("number", number)

    def _read_expressions(self, line: str) -> None:
        """Expressions that the step takes over, `2*(2-2b)` or `check (9+2)+4`, and those it arrives at, after `=`."""
        for leads, run in _RUN.findall(line) if _TIGHT.search(line) else ():
            self._read_expression(run, bool(leads))
        for inner in _INNER.findall(line) if "(" in line else ():
            self._read_expression(inner, False)
        for side in line.split("=")[1:]:
            self._read_expression(side, True)

    def _read_expression(self, text: str, is_result: bool) -> None:
        if len(text) < 5 or not _OPERATOR.search(text) or not _DIGIT.search(text):
            return
        key = _key(text)
        if not 4 < len(key) <= 60 or key in self._own or not any(map(str.isdigit, key)) or key in self._trace.question:
            return
        if is_result:
            self.found.produced["expression", key] = key
            self._own.add(key)
        else:
            self._use("expression", key)

    def read_symbols(self, step_lines: Sequence[str]) -> None:
        """Symbols that an earlier step defined, "compare B with C", and those that this one brings up first."""
        for symbol in dict.fromkeys(_SYMBOL.findall("\0".join(step_lines))):
            if symbol in self._labels:
                continue
            if symbol not in self._trace.values:
                if symbol not in self._trace.symbols:
                    self.found.produced["label", symbol] = ""
            elif not self._afresh:
                self._use("label", symbol)
                self.found.mentions = True

    def _use(self, kind: str, name: str) -> None:
        self.found.used[kind, name] = None


def _results(line: str) -> set[int]:
    """Where the numbers stand that the line arrives at."""
    return {match.start(1) for match in _RESULT.finditer(line.lower())}


def _stands_alone(line: str, number: re.Match[str]) -> bool:
    """Whether a number is a quantity rather than an exponent, an index or the number of a list item."""
    before = line[max(0, number.start() - 2) : number.start()]
    return bool(before.strip()) and not before.endswith(("^", "_", "^{", "_{")) and line[number.end() :][:2] != ". "


def _value(right: str) -> str:
    """The value in `9`, `80 cents` or `2b - 3`: a number or an expression, without the words that follow it."""
    found = _VALUE.match(right)
    key = _key(found[0]) if found else ""
    return key if re.search(r"\d", key) else ""
