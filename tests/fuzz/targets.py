"""What is fuzzed: for each target its inputs as JSON, how one is made out of another, checked and shrunk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.fuzz import engine_laws, parser_laws
from tests.fuzz.cases import ERRORS, FINISHES, Case, Say
from tests.fuzz.loop import VirtualLoop
from tests.fuzz.mutate import chunked, mutated
from tests.fuzz.shrink import shrunk

_MOST_READ = 600  # characters read token by token, which is the slow way
CORPUS = Path(__file__).parent / "corpus"
Input = Any


class Target(Protocol):
    """Something to fuzz. `most_work`: what a unit of size may cost, in counted branches."""

    name: str
    most_work: int

    def mutated(self, random: Random, input: Input, others: Sequence[Input]) -> Input: ...
    def check(self, input: Input, random: Random, *, thorough: bool) -> None: ...
    def size(self, input: Input) -> int: ...
    def shrunk(self, input: Input, breaks: Callable[[Input], bool]) -> Input: ...


class ParserTarget:
    """Inputs are lists of chunks of one text."""

    name = "parser"
    most_work = 60

    def mutated(self, random: Random, input: list[str], others: Sequence[list[str]]) -> list[str]:
        borrowed = ["".join(random.choice(others))] if others else []
        return chunked(random, mutated(random, "".join(input), borrowed))

    def check(self, input: list[str], random: Random, *, thorough: bool) -> None:
        parser_laws.check(input)
        if thorough:
            parser_laws.check_reader("".join(input)[:_MOST_READ])

    def size(self, input: list[str]) -> int:
        return sum(map(len, input)) + 10 * len(input) + 20

    def shrunk(self, input: list[str], breaks: Callable[[list[str]], bool]) -> list[str]:
        if breaks(["".join(input)]):
            return [str(shrunk("".join(input), lambda text: breaks([str(text)])))]
        return _shrunk_texts(list(shrunk(input, lambda chunks: breaks(list(chunks)))), breaks)


class EngineTarget:
    """Inputs are cases as JSON values."""

    name = "engine"
    most_work = 400

    def __init__(self) -> None:
        self._loop = VirtualLoop()

    def mutated(self, random: Random, input: dict[str, Any], others: Sequence[dict[str, Any]]) -> dict[str, Any]:
        case = Case.from_dict(input)
        texts = (
            [say["text"] for other in (random.choice(others),) for say in other.get("planner", [])] if others else []
        )
        for _ in range(random.choice((1, 1, 2, 4))):
            case = _changed(random, case, texts)
        return case.as_dict()

    def check(self, input: dict[str, Any], random: Random, *, thorough: bool) -> None:
        try:
            seen = engine_laws.check(Case.from_dict(input), self._loop)
            if thorough:
                engine_laws.order_does_not_matter(seen, self._loop, random)
        except BaseException:
            self._loop = VirtualLoop()  # the old one may still hold tasks
            raise

    def size(self, input: dict[str, Any]) -> int:
        return 5_000 + 2 * len(json.dumps(input)) + 2 * int(input.get("options", {}).get("max_tokens", 36_000))

    def shrunk(self, input: dict[str, Any], breaks: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        small = dict(input)
        for key in ("planner", "executor"):
            if key in small:
                small[key] = list(shrunk(small[key], lambda says, key=key: breaks(small | {key: list(says)})))
                small[key] = _shrunk_says(small[key], lambda says, key=key: breaks(small | {key: says}))
        options = dict(small.get("options", {}))
        kept = shrunk(list(options), lambda names: breaks(small | {"options": {n: options[n] for n in names}}))
        return small | {"options": {name: options[name] for name in kept}}


def _shrunk_texts(texts: list[str], breaks: Callable[[list[str]], bool]) -> list[str]:
    for i, text in enumerate(texts):
        texts[i] = str(shrunk(text, lambda part, i=i: breaks([*texts[:i], str(part), *texts[i + 1 :]])))
    return texts


def _shrunk_says(says: list[dict[str, Any]], breaks: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    for i in range(len(says)):
        for key in set(says[i]) - {"text"}:
            plain = {k: v for k, v in says[i].items() if k != key}
            if breaks([*says[:i], plain, *says[i + 1 :]]):
                says[i] = plain
        says[i] = _shrunk_say(says, i, breaks)
    return says


def _shrunk_say(says: list[dict[str, Any]], i: int, breaks: Callable[[list[dict[str, Any]]], bool]) -> dict[str, Any]:
    def still_breaks(text: object) -> bool:
        return breaks([*says[:i], says[i] | {"text": str(text)}, *says[i + 1 :]])

    return says[i] | {"text": str(shrunk(says[i]["text"], still_breaks))}


# --- cases out of cases ----------------------------------------------------------------------------------------------

OPTIONS: dict[str, tuple[Any, ...]] = {
    "dispatch": ("pipelined", "barrier"),
    "mode": ("auto", "auto", "parallel", "sequential"),
    "max_rounds": (1, 2, 3, 12),
    "max_prompts": (1, 2, 32),
    "max_plan_tokens": (1, 2, 20, 60, 8000),
    "max_execution_tokens": (1, 2, 20, 8000),
    "max_tokens": (1, 5, 50, 100, 200, 300, 600),
    "max_concurrency": (1, 2, 32),
    "seed": (None, 0, 7),
    "execution_timeout_s": (None, 0.002, 0.05),
    "time_limit_s": (None, 0.0001, 0.01, 0.5),
    "view": ("prefix", "whole_plan"),
    "gate": ("none", "first_plan"),
    "quorum": (None, 0.01, 0.5, 1.0),
    "hedge_after_s": (None, 0.001, 0.02),
    "attempts": (1, 2, 3),
    "rollouts": (1, 1, 2),
    "plan_gate_tokens": (None, 1, 40),
    "execution_gate_tokens": (None, 1, 20),
    "repetition_tokens": (None, 1, 16, 128),
    "count_as_published": (True, False),
    "carry_on": (False, True),
}  # fmt: skip
_CHUNKS = ((1,), (1,), (2,), (3, 1), (7,), (16,), (1000,), (1, 40, 2))
_ENDS = ("eos",) * 6 + tuple(FINISHES) + tuple(ERRORS)


def _changed(random: Random, case: Case, texts: Sequence[str]) -> Case:
    what = random.random()
    if what < 0.55:
        return _with_says(random, case, "planner", texts)
    if what < 0.8:
        return _with_says(random, case, "executor", texts)
    if what < 0.95:
        name = random.choice(list(OPTIONS))
        return replace(case, options=case.options | {name: random.choice(OPTIONS[name])})
    if what < 0.98:
        return replace(case, context_tokens=random.choice((1, 12, 40, 100, 300, 100_000)))
    return replace(case, tokenizer=random.choice(("pieces", "pieces", "bytes", "joining")))


def _with_says(random: Random, case: Case, role: str, texts: Sequence[str]) -> Case:
    says: list[Say] = list(getattr(case, role)) or [Say("")]
    i, what = random.randrange(len(says)), random.random()
    if what < 0.7:
        says[i] = replace(says[i], text=mutated(random, says[i].text, texts))
    elif what < 0.9:
        says[i] = _other_manner(random, says[i])
    elif what < 0.95 and len(says) < 5:
        says.insert(i, says[random.randrange(len(says))])
    elif len(says) > 1:
        del says[i]
    return replace(case, **{role: tuple(says)})


def _other_manner(random: Random, say: Say) -> Say:
    manner = random.choice(("chunks", "end", "delay", "rude"))
    values: dict[str, tuple[Any, ...]] = {
        "chunks": _CHUNKS, "end": _ENDS, "delay": (0.0, 0.0, 0.001, 0.03), "rude": (False, True),
    }  # fmt: skip
    return replace(say, **{manner: random.choice(values[manner])})


def load(name: str) -> list[dict[str, Any]]:
    """The kept inputs of a target, each with a name and, where a law was broken, the law."""
    path = CORPUS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
