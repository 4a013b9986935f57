"""Makes texts out of texts: cuts them at the protocol's tags and moves, doubles, drops, renumbers and breaks these.

It knows how tags look, so that most of what it makes is nearly right, and no more about the protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

LONGEST = 4_000
_LENGTHS = (40, 80, 80, 120, 120, 200, 200, 400)  # mostly short: what breaks a parser is short, and short is fast

_NAMES = ("Plan_{r}", "prompt_{r}.{k}", "Execution_{r}", "execution_{r}.{k}", "Final_answer", "think")
_PIECES = (
    "\n", " ", "a", "7+5=12", "\\boxed{7}", "**Final Answer**", "-----", "No prompt to execute.", "<", ">", "</", "/",
    "_", ".", "<Plan_", "</prompt_1.", "</execution_", "<Final_answer", "</think", "<think>\n", "\n</think>",
    "<Plan_0>", "<Plan_01>", "<prompt_1>", "<prompt_1.1.1>", "</ Plan_1>", "<PLAN_1>", "<Plan_١>", "<|endoftext|>", "é",
    "🙂", "\u202e", "\x00", "\r\n", "\u2028", "\ufffd", "\u0301", "[This execution failed.]", "\n<execution_1.1>\n",
    "x" * 40,
)  # fmt: skip
_CUT = re.compile(r"(</?[A-Za-z_]+(?:_\d+(?:\.\d+)?)?>)")
_NUMBER = re.compile(r"\d+")

Edit = Callable[[Random, str], str]


def number(random: Random) -> int:
    """Mostly the numbers that are right somewhere, sometimes far off."""
    return random.choice((1, 1, 1, 2, 2, 3)) if random.random() < 0.9 else random.choice((0, 9, 12, 33, 9999, 10_000))


def piece(random: Random) -> str:
    """A tag, or something that is easily mistaken for one."""
    if random.random() < 0.3:
        return random.choice(_PIECES)
    name = random.choice(_NAMES).format(r=number(random), k=number(random))
    return f"<{random.choice(('', '/'))}{name}>" + random.choice(("", "\n", " "))


def prompts(random: Random) -> str:
    """A plan of many prompts, or of empty ones."""
    count = random.choice((1, 2, 3, 5, 40))
    body = random.choice(("", " ", " x ", " work out A "))
    return "\n".join(f"<prompt_1.{k}>{body}</prompt_1.{k}>" for k in range(1, count + 1))


def mutated(random: Random, text: str, others: Sequence[str]) -> str:
    """`text` after one to six edits, some of which borrow from `others`."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        if others and random.random() < 0.1:
            text = _spliced(random, text, random.choice(others))
        else:
            text = random.choice(_EDITS)(random, text)
    return text[: LONGEST if random.random() < 0.01 else random.choice(_LENGTHS)]


def chunked(random: Random, text: str) -> list[str]:
    """`text`, cut at up to eight random places."""
    cuts = sorted(random.randint(0, len(text)) for _ in range(random.randint(0, 8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _range(random: Random, length: int) -> tuple[int, int]:
    start = random.randint(0, length)
    return start, min(length, start + random.choice((1, 1, 2, 4, 8, 16, 64)))


def _inserted(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    return text[:at] + piece(random) + text[at:]


def _with_prompts(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    return text[:at] + prompts(random) + text[at:]


def _with_character(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    return text[:at] + chr(random.choice((random.randrange(128), random.randrange(0xD800)))) + text[at + 1 :]


def _deleted(random: Random, text: str) -> str:
    start, end = _range(random, len(text))
    return text[:start] + text[end:]


def _truncated(random: Random, text: str) -> str:
    return text[: random.randint(0, len(text))]


def _repeated(random: Random, text: str) -> str:
    start, end = _range(random, len(text))
    times = random.choice((2, 2, 3, 10, 100)) if random.random() < 0.2 else 2
    return text[:start] + text[start:end] * times + text[end:]


def _over_pieces(edit: Callable[[Random, list[str]], None]) -> Edit:
    def edited(random: Random, text: str) -> str:
        pieces = _CUT.split(text)
        edit(random, pieces)
        return "".join(pieces)

    return edited


def _swap(random: Random, pieces: list[str]) -> None:
    i, j = random.randrange(len(pieces)), random.randrange(len(pieces))
    pieces[i], pieces[j] = pieces[j], pieces[i]


def _drop(random: Random, pieces: list[str]) -> None:
    pieces[random.randrange(len(pieces))] = ""


def _double(random: Random, pieces: list[str]) -> None:
    i = random.randrange(len(pieces))
    pieces.insert(random.randint(0, len(pieces)), pieces[i])


def _renumber(random: Random, pieces: list[str]) -> None:
    i = random.randrange(len(pieces))
    pieces[i] = _NUMBER.sub(lambda _: str(number(random)), pieces[i])


def _close_or_open(random: Random, pieces: list[str]) -> None:
    i = random.randrange(len(pieces))
    pieces[i] = pieces[i].replace("</", "<", 1) if pieces[i].startswith("</") else pieces[i].replace("<", "</", 1)


def _spliced(random: Random, text: str, other: str) -> str:
    return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]


_EDITS: tuple[Edit, ...] = (
    _inserted, _inserted, _with_prompts, _with_character, _deleted, _truncated, _repeated,
    _over_pieces(_swap), _over_pieces(_drop), _over_pieces(_double), _over_pieces(_renumber),
    _over_pieces(_close_or_open),
)  # fmt: skip
