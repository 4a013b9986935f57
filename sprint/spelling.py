r"""How an answer is written: what is dropped or rewritten because it changes nothing (the table in `normalise`).

It knows LaTeX's habits and nothing of mathematics: two answers that are spelled alike are the same; two that are not
may be all the same. Nothing here raises on any text.
"""

from __future__ import annotations

import re

_WORDS_OF_UNITS = (
    r"(?:square |cubic )?(?:units?|inch(?:es)?|in|feet|foot|ft|yards?|yd|miles?|mi|mm|cm|km|kg|mg|lbs?|pounds?|"
    r"ounces?|oz|"
    r"(?:kilo|centi|milli)?met(?:er|re)s?|(?:kilo)?grams?|lit(?:er|re)s?|ml|degrees?|percent|dollars?|cents?|euros?|"
    r"seconds?|sec|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|mph|km/h|m/s|people|students|ways)"
)
_SPACING = (
    r"(?<!\\)\\(?:[!,;: ()\[\]]|(?:left|right|[bB]igg?[lrm]?|displaystyle|limits)(?![a-z]))"  # `\\` ends a matrix row
)
_DROPPED = re.compile(rf"{_SPACING}|\\?[$%]|~|\u00b0|\^\{{?\\circ\}}?|\\degree(?![a-z])")
_TEXT_OPENS = r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|operatorname)\s*\{"
_TEXT = _TEXT_OPENS + r"([^{}]*)\}"
_POWER = r"(?:\s*\^\{?\d\}?)?"
_NO_UNIT = rf"(?!{_TEXT_OPENS}\s*(?:[ap]\.?m|and|or)\b)"
_UNIT = re.compile(rf"(?:(?<=[^\s=,])|(?<=[0-9}})])\s+){_NO_UNIT}{_TEXT}{_POWER}$", re.IGNORECASE)
_PLAIN_UNIT = re.compile(rf"(?<=[0-9}})])\s*{_WORDS_OF_UNITS}{_POWER}$")
_REWRITTEN = (
    (re.compile(r"\{([,:.])\}"), r"\1"),  # 10{,}080
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"^\{([^{}]*)\\over(?![a-z])([^{}]*)\}$"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9a-z])\s*([0-9a-z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-z])"), r"\\frac\1{\2}"),
    (re.compile(r"\\sqrt\s*([0-9a-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\log_\{?e\}?(?![a-z])"), r"\\ln"),
    (re.compile(r"\\(leq|geq)slant(?![a-z])"), r"\\\1"),
    (re.compile(r"\\varnothing(?![a-z])|\\\{\s*\\\}"), r"\\emptyset"),
    (re.compile(r"\b([ap])\.\s?m\b\.?"), r"\1m"),
    (re.compile(r"(?<![0-9])\.(?=[0-9])"), "0."),
    (re.compile(r"^(-?[0-9]+(?:\.[0-9]+)?)[eE]([-+]?[0-9]{1,3})$"), r"\1 \\times 10^{\2}"),
    (re.compile(r"^(-?[0-9]+) ([0-9]+)/([0-9]+)$"), r"\1\\frac{\2}{\3}"),  # 3 1/2 is no product
)
_BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BASE_IN_WORDS = re.compile(rf"(?<=[0-9A-F])_\{{?({'|'.join(_BASES)})\}}?$")
_THOUSANDS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_ARTICLE = re.compile(r"^(?:an?|the) (?!and |or )(?=[A-Za-z]{3})", re.IGNORECASE)


def normalise(answer: str) -> str:
    r"""`answer` without what changes nothing.

    Dropped: white space and LaTeX spacing around symbols, `$`, `\left`, `\big`, percent and degree signs, a closing
    full stop, a unit behind a number (its size is not looked at: 5 cm is 5), text commands around words, an article
    before words, commas between thousands. Rewritten: `\dfrac`, `\frac12`, `{a \over b}`, `\sqrt2`, `.5`, `1e3`,
    `3 1/2`, `\leqslant`, `\varnothing`, `a.m.`, `_{\text{eight}}`.
    """
    text = re.sub(r",\s*\\!\s*", "", answer.strip().rstrip(".").replace("\u2212", "-"))
    text = _DROPPED.sub("", text.strip("$ ")).strip().rstrip(".")
    text = re.sub(_TEXT, r"\1", _UNIT.sub("", text))
    text = re.sub(r"\s+", " ", text).strip()
    for pattern, plain in _REWRITTEN:
        text = pattern.sub(plain, text)
    text = _ARTICLE.sub("", _PLAIN_UNIT.sub("", text))
    text = _BASE_IN_WORDS.sub(lambda match: f"_{_BASES.index(match[1]) + 2}", text)
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def squeezed(text: str) -> str:
    """A normalised answer without white space, but for that between two digits: `1 2` is not 12."""
    return re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", re.sub(r"_\{([0-9]+)\}", r"_\1", text))


def has_percent(answer: str) -> bool:
    """Whether a percent sign, or the word, stands behind the number."""
    return re.search(r"(?:%|percent\}?)\s*\$?\s*\.?$", answer.strip()) is not None
