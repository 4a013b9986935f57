"""Round structures: how many tokens each part of an answer takes. Read from recorded outputs, or drawn from a seed.

It knows the protocol's text and no model. Every count is of what a model samples: tags of its own included, the
runtime's excluded.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sprint.card import Instruction, Method, ModelCard
from sprint.errors import InputError
from sprint.files import read_jsonl
from sprint.published import BLOCK_END, EXECUTION_END, cut_after
from sprint.reader import prompt_ends
from sprint.render import Prompter
from sprint.tags import NOTHING_TO_EXECUTE, THINK_CLOSE, THINK_OPEN
from sprint.tokenizer import Tokenizer
from sprint.usage import RoundCounts, pipelined_tokens, written_tokens

_EXECUTION_START = re.compile(r"\s*<execution_\d+\.\d+>\n?")
_OUTER = re.compile(r"\s*</?Execution_\d+>\s*")


@dataclass(frozen=True, slots=True)
class Structure:
    """One answer. `sequential_tokens`: what a sequential model took for the same question; None where unknown."""

    id: str
    question_tokens: int
    rounds: tuple[RoundCounts, ...]
    final_tokens: int
    sequential_tokens: int | None = None

    @property
    def pipelined_tokens(self) -> int:
        return pipelined_tokens(self.rounds, self.final_tokens)

    @property
    def written_tokens(self) -> int:
        return written_tokens(self.rounds, self.final_tokens)


# --- read ------------------------------------------------------------------------------------------------------------


def read(outputs: Path, sequential: Path | None, tokenizer: Tokenizer) -> list[Structure]:
    """The structures of recorded outputs, one JSON object a line with `problem` and `reasoning`.

    `sequential` holds the same problems' sequential outputs. Raises InputError where a file or a row is unusable.
    """
    rows = list(_rows(sequential)) if sequential else []
    lengths = {row["problem"]: len(tokenizer.encode(row["reasoning"])) for row in rows}
    return [_structure(row, tokenizer, lengths) for row in _rows(outputs)]


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(read_jsonl(path), 1):
        if not isinstance(row.get("problem"), str) or not isinstance(row.get("reasoning"), str):
            raise InputError(f"{path}, row {number}: expected the texts 'problem' and 'reasoning'")
        yield row


def _structure(row: Mapping[str, Any], tokenizer: Tokenizer, lengths: Mapping[str, int]) -> Structure:
    """Cut at the closing tags, as the authors count, so that a stray tag inside a plan does no harm."""
    text = row["reasoning"].removeprefix(THINK_OPEN).removesuffix(THINK_CLOSE)
    *blocks, final = cut_after(text, BLOCK_END)
    plans, executions = blocks[::2], blocks[1::2]
    rounds = tuple(_round(plan, done, tokenizer) for plan, done in zip(plans, executions, strict=True))
    question = len(Prompter(tokenizer, ModelCard(Method.SPRINT, Instruction.SPRINT)).question_ids(row["problem"]))
    return Structure(
        str(row.get("id", "")), question, rounds, len(tokenizer.encode(final.strip())), lengths.get(row["problem"])
    )


def _round(plan: str, executions: str, tokenizer: Tokenizer) -> RoundCounts:
    ids = tokenizer.encode(plan.strip())
    ends = prompt_ends(ids, tokenizer)
    done = [_EXECUTION_START.sub("", text, count=1) for text in cut_after(_OUTER.sub("", executions), EXECUTION_END)]
    lengths = [len(tokenizer.encode(text)) for text in done if text.strip() not in ("", NOTHING_TO_EXECUTE)]
    count = min(len(ends), len(lengths))
    return RoundCounts(len(ids), tuple(ends[:count]), tuple(lengths[:count]))


# --- drawn -----------------------------------------------------------------------------------------------------------

# Logarithms' mean and standard deviation, fitted to outputs of a 7B model on competition mathematics.
_ROUNDS = (1.41, 0.47)
_QUESTION = (3.96, 0.74)
_SEGMENT = (4.63, 0.63)  # plan tokens from one prompt's end to the next one's
_EXECUTION = (5.40, 0.77)
_PLAN_WITHOUT_PROMPTS = (4.47, 1.09)
_FINAL = (3.51, 0.31)
_SEQUENTIAL_RATIO = (0.05, 0.45)  # a sequential model's tokens to the pipelined critical path
_PROMPTS = {0: 9, 1: 45, 2: 29, 3: 11, 4: 3, 5: 1, 6: 1, 7: 1}  # how often a round has that many, in percent
_INSTRUCTION_TOKENS = 236
_TAIL_TOKENS = 5  # a plan nearly always ends with its last prompt and its closing tag


def draw(count: int, seed: int) -> list[Structure]:
    """`count` structures of about the same distribution as the published model's."""
    rng = random.Random(seed)
    return [_drawn(f"drawn-{number}", rng) for number in range(count)]


def _drawn(name: str, rng: random.Random) -> Structure:
    def length(fit: tuple[float, float], least: int, most: int) -> int:
        return max(least, min(most, round(rng.lognormvariate(*fit))))

    def one_round() -> RoundCounts:
        prompts = rng.choices(list(_PROMPTS), list(_PROMPTS.values()))[0]
        if not prompts:
            return RoundCounts(length(_PLAN_WITHOUT_PROMPTS, 20, 800))
        ends: list[int] = []
        for _ in range(prompts):
            ends.append((ends[-1] if ends else 0) + length(_SEGMENT, 30, 800))
        executions = tuple(length(_EXECUTION, 20, 1900) for _ in ends)
        return RoundCounts(ends[-1] + _TAIL_TOKENS, tuple(ends), executions)

    rounds = tuple(one_round() for _ in range(length(_ROUNDS, 2, 11)))
    drawn = Structure(name, _INSTRUCTION_TOKENS + length(_QUESTION, 12, 460), rounds, length(_FINAL, 20, 70))
    sequential = round(drawn.pipelined_tokens * rng.lognormvariate(*_SEQUENTIAL_RATIO))
    return replace(drawn, sequential_tokens=max(400, sequential))


# --- shortened -------------------------------------------------------------------------------------------------------


def scaled(structure: Structure, scale: float) -> Structure:
    """The same structure with every part `scale` times as long."""
    if scale == 1:
        return structure
    sequential = structure.sequential_tokens
    return Structure(
        structure.id,
        _scale(structure.question_tokens, scale),
        tuple(_scaled_round(counts, scale) for counts in structure.rounds),
        _scale(structure.final_tokens, scale),
        None if sequential is None else _scale(sequential, scale),
    )


def _scaled_round(counts: RoundCounts, scale: float) -> RoundCounts:
    def scaled_all(lengths: Sequence[int]) -> tuple[int, ...]:
        return tuple(_scale(length, scale) for length in lengths)

    plan = max(_scale(counts.plan_tokens, scale), *scaled_all(counts.prefix_tokens), 1)
    return RoundCounts(plan, scaled_all(counts.prefix_tokens), scaled_all(counts.execution_tokens))


def _scale(tokens: int, scale: float) -> int:
    return max(1, round(tokens * scale))
