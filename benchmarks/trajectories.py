"""Answers of exactly a given structure, as token ids of a small tokenizer: random words between real tags.

It knows how the runtime lays out contexts (by `render`), and no engine. Where a part is shorter than its tags, it gets
what its tags need.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.structures import Structure
from sprint import render, tags
from sprint.tags import TagKind
from sprint.tokenizer import HFTokenizer
from sprint.usage import RoundCounts, barrier_tokens, pipelined_tokens, written_tokens

_PROMPT_SHARE = 0.25  # of a segment of a plan, how much stands inside the prompt
_WORD = re.compile(r" [a-z]+")
_WORDS = 600

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpokenRound:
    """What is sampled in one round. `segments` end each with a prompt's end; `tail` is the rest of the plan.

    `before[k]` is the part of segment k that stands before its prompt.
    """

    segments: tuple[Ids, ...]
    before: tuple[Ids, ...]
    tail: Ids
    executions: tuple[Ids, ...]

    @property
    def plan(self) -> Ids:
        return sum(self.segments, ()) + self.tail

    @property
    def counts(self) -> RoundCounts:
        ends = [sum(map(len, self.segments[: k + 1])) for k in range(len(self.segments))]
        return RoundCounts(len(self.plan), tuple(ends), tuple(map(len, self.executions)))


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that will be sampled for one question, by rounds and by a sequential model."""

    id: str
    question: str
    rounds: tuple[SpokenRound, ...]
    final: Ids
    sequential: Ids

    @property
    def pipelined_tokens(self) -> int:
        return pipelined_tokens([spoken.counts for spoken in self.rounds], len(self.final))

    @property
    def barrier_tokens(self) -> int:
        return barrier_tokens([spoken.counts for spoken in self.rounds], len(self.final))

    @property
    def written_tokens(self) -> int:
        return written_tokens([spoken.counts for spoken in self.rounds], len(self.final))


def save_tokenizer(structures: Sequence[Structure], folder: Path) -> HFTokenizer:
    """A tokenizer in which the tags of all structures and many words are one token each."""
    from train.tokenizers import train_tokenizer

    rng = random.Random(0)
    words = [" " + "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3)) for _ in range(_WORDS)]
    rounds = max(len(structure.rounds) for structure in structures)
    prompts = max(len(counts.prefix_tokens) for structure in structures for counts in structure.rounds)
    named = f"{tags.opening(TagKind.PLAN, rounds)}{tags.opening(TagKind.PROMPT, rounds, max(prompts, 1))}"
    tokenizer: Any = train_tokenizer([named, *("".join(words),) * 3], vocab_size=256 + 8 * _WORDS)
    tokenizer.save_pretrained(str(folder))
    return HFTokenizer(folder)


class Speaker:
    """Says structures in a tokenizer's ids."""

    def __init__(self, tokenizer: HFTokenizer, seed: int = 0) -> None:
        self.tokenizer = tokenizer
        self._rng = random.Random(seed)
        vocabulary = range(tokenizer.vocab_size)
        self._words = [token_id for token_id in vocabulary if _WORD.fullmatch(tokenizer.decode([token_id]))]

    def say(self, structure: Structure) -> Answer:
        return Answer(
            structure.id,
            self.tokenizer.decode(self._filler(structure.question_tokens)).strip(),
            tuple(self._round(number, counts) for number, counts in enumerate(structure.rounds, 1)),
            self._framed(tags.FINAL_OPEN, structure.final_tokens, tags.FINAL_CLOSE),
            self._filler(structure.sequential_tokens or 0),
        )

    def _filler(self, count: int) -> Ids:
        return tuple(self._rng.choices(self._words, k=max(0, count)))

    def _tag(self, text: str) -> Ids:
        return tuple(self.tokenizer.encode(text))

    def _framed(self, opening: str, tokens: int, closing: str) -> Ids:
        head, end = self._tag(opening), self._tag(closing)
        return head + self._filler(max(1, tokens - len(head) - len(end))) + end

    def _round(self, number: int, counts: RoundCounts) -> SpokenRound:
        segments: list[Ids] = []
        before: list[Ids] = []
        for k, end in enumerate(counts.prefix_tokens, 1):
            head = self._tag(f"{tags.opening(TagKind.PLAN, number)}\n") if k == 1 else ()
            tokens = end - sum(map(len, segments)) - len(head)
            told = self._told(number, k, max(1, round(tokens * _PROMPT_SHARE)))
            before.append(head + self._filler(max(1, tokens - len(told))))
            segments.append(before[-1] + told)
        opening = "" if segments else f"{tags.opening(TagKind.PLAN, number)}\n"
        tail = self._tail(opening, counts.plan_tokens - sum(map(len, segments)), render.plan_closing(number))
        executions = (
            self._framed("", tokens, render.execution_closing(number, k))
            for k, tokens in enumerate(counts.execution_tokens, 1)
        )
        return SpokenRound(tuple(segments), tuple(before), tail, tuple(executions))

    def _told(self, number: int, k: int, tokens: int) -> Ids:
        opening = f"\n{tags.opening(TagKind.PROMPT, number, k)} "
        return self._framed(opening, tokens, f" {tags.closing(TagKind.PROMPT, number, k)}")

    def _tail(self, opening: str, tokens: int, closing: str) -> Ids:
        head, end = self._tag(opening), self._tag(closing)
        least = 1 if opening else 0
        return head + self._filler(max(least, tokens - len(head) - len(end))) + end


class Contexts:
    """The contexts of an answer's calls, laid out as the runtime lays them out. All are made at once, ahead of time.

    planner           before each plan, and last before the final answer
    whole             everything, up to the end of the final answer
    prefix_views      by round, our executors': the planner's ids up to the end of the prompt
    whole_plan_views  by round, the authors' executors': the whole plan, prompts of earlier siblings left out, the own
                      prompt always named the first
    """

    def __init__(self, answer: Answer, question_ids: Sequence[int], tokenizer: HFTokenizer) -> None:
        self._answer = answer
        self._tokenizer = tokenizer
        self.planner: list[Ids] = [tuple(question_ids)]
        for number, spoken in enumerate(answer.rounds, 1):
            self.planner.append(self.planner[-1] + spoken.plan + self._joined(number, spoken))
        self.whole = self.planner[-1] + answer.final
        self.prefix_views = self._views(self._prefix_view)
        self.whole_plan_views = self._views(self._whole_plan_view)

    def _views(self, view: Callable[[int, int], Ids]) -> list[list[Ids]]:
        rounds = enumerate(self._answer.rounds, 1)
        return [[view(number, k) for k in range(1, len(spoken.executions) + 1)] for number, spoken in rounds]

    def _prefix_view(self, number: int, k: int) -> Ids:
        segments = self._answer.rounds[number - 1].segments[:k]
        return self.planner[number - 1] + sum(segments, ()) + self._ids(render.branch_opening(number, k))

    def _whole_plan_view(self, number: int, k: int) -> Ids:
        spoken = self._answer.rounds[number - 1]
        plan = sum(spoken.before[: k - 1], ()) + self._renumbered(number, k, spoken) + spoken.tail
        opening = render.execution_opening(number, 1)
        return self.planner[number - 1] + plan + self._ids(opening)

    def _renumbered(self, number: int, k: int, spoken: SpokenRound) -> Ids:
        ids: Ids = ()
        for new, old in enumerate(range(k, len(spoken.segments) + 1), 1):
            segment, before = spoken.segments[old - 1], spoken.before[old - 1]
            told = segment[len(before) :]
            ids += before + self._rename(told, number, old, new) if old != new else segment
        return ids

    def _rename(self, told: Ids, number: int, old: int, new: int) -> Ids:
        """A prompt under another number."""
        head, end = self._prompt_tags(number, old)
        new_head, new_end = self._prompt_tags(number, new)
        return new_head + told[len(head) : len(told) - len(end)] + new_end

    def _prompt_tags(self, number: int, k: int) -> tuple[Ids, Ids]:
        opening, closing = tags.opening(TagKind.PROMPT, number, k), tags.closing(TagKind.PROMPT, number, k)
        return self._ids(f"\n{opening} "), self._ids(f" {closing}")

    def _joined(self, number: int, spoken: SpokenRound) -> Ids:
        if not spoken.executions:
            return self._ids(render.nothing_to_execute(number))
        return sum(self._executions(number, spoken), ()) + self._ids(render.executions_closing(number))

    def _executions(self, number: int, spoken: SpokenRound) -> Iterator[Ids]:
        for k, execution in enumerate(spoken.executions, 1):
            yield self._ids(render.execution_opening(number, k)) + execution

    def _ids(self, text: str) -> Ids:
        return tuple(self._tokenizer.encode(text))
